from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lmc_repro.data.catalog import CATALOG, dataset_info
from lmc_repro.data.remote import RemoteFile
from lmc_repro.errors import LmcError


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LmcError, match=r"'minst' is unknown.*digits, mnist"):
        dataset_info("minst")


def test_mnist_as_in_the_authors_code() -> None:
    info = dataset_info("mnist")
    assert (info.shape, info.classes, info.n_train, info.n_test) == ((1, 28, 28), 10, 60000, 10000)
    assert (info.mean, info.std, info.scale_max) == ((0.1307,), (0.3081,), 255)
    assert info.features == 784
    assert len(info.files) == 4 and all(file.urls for file in info.files)


def test_sizes_of_the_papers_data_sets() -> None:
    sizes = {name: (info.shape, info.classes, info.n_train, info.n_test) for name, info in CATALOG.items()}
    assert sizes["cifar10"] == ((3, 32, 32), 10, 50000, 10000)
    assert sizes["cifar100"] == ((3, 32, 32), 100, 50000, 10000)
    assert sizes["tinyimagenet"] == ((3, 64, 64), 200, 100000, 10000)
    assert CATALOG["cifar100"].mean == CATALOG["cifar10"].mean == (0.49139968, 0.48215827, 0.44653124)
    assert CATALOG["cifar100"].std == CATALOG["cifar10"].std == (0.24703233, 0.24348505, 0.26158768)
    assert (CATALOG["tinyimagenet"].mean, CATALOG["tinyimagenet"].std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_file_has_one_checksum() -> None:
    assert (RemoteFile("x", (), md5="0" * 32).algorithm, RemoteFile("x", (), "1" * 64).checksum) == ("md5", "1" * 64)
    for checksums in ({}, {"sha256": "0" * 64, "md5": "0" * 32}):
        with pytest.raises(ValueError, match="x: give sha256, or md5"):
            RemoteFile("x", (), **checksums)


def test_dvc_prepares_every_data_set() -> None:
    stages = YAML(typ="safe").load(Path(__file__).parents[2] / "dvc.yaml")["stages"]
    assert stages["prepare"]["foreach"] == list(CATALOG)


def test_an_unused_data_set_is_noted_without_heavy_imports(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import lmc_repro.cli.session\n"
        "from lmc_repro.data.folder import note_unused\n"
        f"note_unused('cifar100', Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert '"state": "unused"' in (tmp_path / "cifar100" / "status.json").read_text()


def test_every_entry_has_one_mean_and_std_a_channel() -> None:
    for name, info in CATALOG.items():
        assert info.name == name
        assert len(info.mean) == len(info.std) == info.shape[0]


def test_what_each_module_does_not_import() -> None:
    script = (
        "import sys\n"
        "import lmc_repro.data.catalog, lmc_repro.data.status\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "import lmc_repro.data.loader, lmc_repro.data.resident, lmc_repro.data.order, lmc_repro.data.dataset\n"
        "assert not {'ffcv', 'numba', 'mlflow', 'dvc', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
