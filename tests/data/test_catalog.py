from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lmc_repro.common.errors import LmcError
from lmc_repro.common.files import read_json
from lmc_repro.config.catalog import CATALOG, dataset_info


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LmcError, match=r"found 'minst', allowed: digits, mnist"):
        dataset_info("minst")


COLOUR = ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768))
FACTS = {  # shape, classes, training and test images, mean and std: the publishers', and the authors' code
    "mnist": ((1, 28, 28), 10, 60000, 10000, (0.1307,), (0.3081,)),
    "cifar10": ((3, 32, 32), 10, 50000, 10000, *COLOUR),
    "cifar100": ((3, 32, 32), 100, 50000, 10000, *COLOUR),
    "tinyimagenet": ((3, 64, 64), 200, 100000, 10000, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_the_papers_data_sets(name: str) -> None:
    info = CATALOG[name]
    assert (info.shape, info.classes, info.n_train, info.n_test, info.mean, info.std) == FACTS[name]
    assert info.scale_max == 255 and info.features == info.shape[0] * info.shape[1] * info.shape[2]


def test_every_entry_has_its_name_and_every_file_an_address_or_an_archive() -> None:
    for name, info in CATALOG.items():
        assert info.name == name and len(info.mean) == len(info.std) == info.shape[0]
        assert all(file.urls for file in ([info.archive] if info.archive else info.files))
        for file in (*info.files, *filter(None, [info.archive])):
            assert len(file.checksum) == {"sha256": 64, "md5": 32}[file.algorithm]


def test_dvc_prepares_every_data_set() -> None:
    stages = YAML(typ="safe").load(Path(__file__).parents[2] / "dvc.yaml")["stages"]
    assert stages["prepare"]["foreach"] == list(CATALOG)


@pytest.mark.slow
def test_modules_import_nothing_heavier_than_they_need_and_an_unused_data_set_is_noted(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import lmc_repro.cli.session, lmc_repro.config.catalog\n"
        "from lmc_repro.data.status import note_unused\n"
        f"note_unused('cifar100', Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)\n"
        "import lmc_repro.data.loaders, lmc_repro.data.prepare\n"
        "assert not {'ffcv', 'numba', 'mlflow', 'dvc', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert read_json(tmp_path / "cifar100" / "status.json", "")["state"] == "unused"
