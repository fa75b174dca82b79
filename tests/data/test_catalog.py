from __future__ import annotations

import subprocess
import sys

import pytest

from lmc_repro.data.catalog import CATALOG, dataset_info
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
