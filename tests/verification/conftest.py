"""A finished study, made once: training and comparing it takes seconds."""

from __future__ import annotations

import pytest
from finished_study import ENVIRONMENT, Finished, make_finished

from lmc_repro.data.dataset import Dataset
from lmc_repro.tracking.store import import_mlflow

import_mlflow("sqlite:///")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Finished:
    root = tmp_path_factory.mktemp("verification") / "a project"
    root.mkdir()
    return make_finished(root, digits)


@pytest.fixture
def finished(made: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The finished project as the working folder; whoever damages it mends it again."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(made.project.root)
    return made
