"""Tiny data: a mirror in MNIST's format, and the embedded digits prepared once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from publishers import gzipped_idx, recorded

from lmc_repro.config.catalog import CATALOG, DatasetInfo
from lmc_repro.data.prepare import prepare

FOLDER = "Tiny/raw"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror folder with 7 train and 5 test images of 5 x 4 pixels in three classes."""
    folder = tmp_path / "mirror" / FOLDER
    folder.mkdir(parents=True)
    for split, n in (("train", 7), ("t10k", 5)):
        images = (np.arange(n * 20) * 13 % 256).reshape(n, 5, 4)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzipped_idx(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzipped_idx(np.arange(n) % 3))
    return tmp_path / "mirror"


@pytest.fixture
def tiny(mirror: Path) -> DatasetInfo:
    """The data set in `mirror`; its addresses lead nowhere."""
    folder, nowhere = mirror / FOLDER, (mirror / "nowhere").as_uri()
    files = tuple(recorded(folder / listed.name, urls=(nowhere,)) for listed in CATALOG["mnist"].files)
    facts = {"shape": (1, 5, 4), "classes": 3, "n_train": 7, "n_test": 5, "digest": "", "folder": FOLDER}
    return replace(CATALOG["mnist"], name="tiny", title="Tiny", files=files, **facts)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder that holds digits; read only."""
    root = tmp_path_factory.mktemp("digits")
    prepare("digits", root / "prepared", root / "raw", None)
    return root / "prepared"
