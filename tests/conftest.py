"""Every test runs as the portable profile does: one thread, the same bits on any CPU with AVX2.

With LMC_TEST_NUMERICS=native as native profiles do: `training/test_native.py` starts such tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from lmc_repro.common.numerics import choose_mode, use_one_thread

# Before anything imports torch: later it would do nothing.
choose_mode("native" if os.environ.get("LMC_TEST_NUMERICS") == "native" else "portable")
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
