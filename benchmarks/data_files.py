"""Where MNIST's files are."""

from __future__ import annotations

import os
from pathlib import Path

from lmc_repro.config.catalog import dataset_info


def find_files() -> Path | None:
    """Return the folder with the publisher's four files: below LMC_DATA_MIRROR, or data/raw; None if neither has it."""
    info = dataset_info("mnist")
    for root in (os.environ.get("LMC_DATA_MIRROR"), Path("data/raw")):
        if root and all((Path(root) / info.folder / file.name).is_file() for file in info.files):
            return Path(root) / info.folder
    return None
