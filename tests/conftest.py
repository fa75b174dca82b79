"""Every test runs as the portable profile does: one thread, the same bits on any CPU with AVX2."""

from __future__ import annotations

import os
from collections.abc import Iterator

from lmc_repro.numerics import choose_mode, use_one_thread

choose_mode("portable")  # before anything imports torch: later it would do nothing
import pytest  # noqa: E402

from lmc_repro.data.dataset import Dataset  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    use_one_thread()
    yield


@pytest.fixture(autouse=True)
def _no_flush_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test survives a power cut; most of their time


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The embedded digits, in memory only."""
    from helpers import read_digits

    return read_digits()
