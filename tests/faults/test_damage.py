"""Damaged files: found, named in one line with what to do, the rest kept; after the repair the study ends as ever."""

from __future__ import annotations

import re
import shutil
import tarfile
from collections import Counter
from dataclasses import replace as with_fields
from pathlib import Path

import numpy as np
import pytest
from figures import note
from harm import HARM, remove, replace
from publishers import cifar_batch, recorded, tar_gz
from small import OUT, SOUND, Small, kill, store_faults
from test_signals import wait_for_epoch

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import CATALOG
from lmc_repro.data.acquire import fetch
from lmc_repro.data.readers import read_arrays
from lmc_repro.results.read import read_study

FOUND: Counter[str] = Counter()


def found(what: str, line: str, *parts: str) -> None:
    """Count a damage that was found, after a look at the line that says so."""
    for part in parts:
        assert part in line, line
    assert "Traceback" not in line, line
    FOUND[what] += 1
    note("damaged files", ", ".join(f"{what} {count}" for what, count in FOUND.items()) + "; all found and mended")


@pytest.fixture(scope="module")
def small(undisturbed: tuple[Small, float], tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A finished study that every test leaves whole. A store says where it lies: here it is made anew from the runs."""
    copy = undisturbed[0].copy(tmp_path_factory.mktemp("damage") / "project")
    for name in ("mlflow.db", "mlartifacts"):
        remove(copy.root / name)
    shutil.copy(undisturbed[0].root / "empty.db", copy.root / "mlflow.db")
    copy.study()
    return copy


def as_ever(small: Small, undisturbed: tuple[Small, float]) -> str:
    """Run the study to its end, which is the undisturbed one, and return what was printed."""
    printed = small.study()
    assert small.results() == undisturbed[0].results()
    assert store_faults(small.root) == SOUND
    return printed


@pytest.mark.parametrize("name", ["train.safetensors", "train.beton"])
def test_prepared_data(name: str, undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    small = fresh.copy(tmp_path / "project")
    path, params = small.root / "data/prepared/digits" / name, small.root / "params.yaml"
    whole, settings = path.read_bytes(), params.read_text()
    for harm in HARM:
        if name.endswith("beton"):  # the other loader reads it
            params.write_text(settings.replace('"loader": "resident"', '"loader": "ffcv"'))
        HARM[harm](path)
        printed = small.run("train", "one", "--jobs", "1", code=2)
        found(name.partition(".")[2], printed.splitlines()[-1], "error: ", "/digits", "`lmc prepare digits`")
        params.write_text(settings)
        small.run("prepare", "digits")
        assert path.read_bytes() == whole
    as_ever(small, undisturbed)


def test_checkpoints_of_the_working_store(small: Small, undisturbed: tuple[Small, float]) -> None:
    """A run whose folder is damaged is taken from the study's own copy, or trained again where that is damaged too."""
    store, copies = small.root / ".lmc" / "runs", small.root / OUT / "runs"
    names = sorted(folder.name for folder in store.glob("*/"))
    for pair in (("cut", "flipped"), ("emptied", "unreadable")):
        for name, harm in zip(names, pair, strict=False):
            for place in (store, copies):
                HARM[harm](place / name / "checkpoints" / "epoch-0002.safetensors")
        printed = as_ever(small, undisturbed)
        # Printed in the order of the study; fingerprints, and so names, have none.
        lines = sorted(line for line in printed.splitlines() if "it is trained again" in line)
        for name, line in zip(names, lines, strict=False):
            found("checkpoint", line, f"{name}/checkpoints/epoch-0002.safetensors", "run again")
        assert "trained 2, reused 2, resumed 0" in printed
    for name, harm in zip(names, HARM, strict=True):
        HARM[harm](store / name / "checkpoints" / "epoch-0002.safetensors")
    assert "trained 0, reused 4" in as_ever(small, undisturbed)


def test_resume_files(undisturbed: tuple[Small, float], fresh: Small, tmp_path: Path) -> None:
    """A damaged one costs time: its run starts again."""
    small = fresh.copy(tmp_path / "project")
    pid = small.start("run", "one", "--jobs", "2", slow=0.3)
    wait_for_epoch(small, pid, 1)
    kill(pid, group=True)
    small.wait(pid)
    files = sorted(small.root.glob(".lmc/runs/*/state-*.safetensors"))
    for harm, file in zip(HARM, files, strict=False):
        HARM[harm](file)
        FOUND["resume file"] += 1
    if any(file.is_dir() for file in files):  # where the run writes its own, when it comes there
        line = small.run("run", "one", "--jobs", "2", code=2).splitlines()[-1]
        assert "state-" in line and "Is a directory" in line and line.endswith("run again")
        for file in files:
            remove(file)
    as_ever(small, undisturbed)


def test_checkpoints_in_mlflow(small: Small, undisturbed: tuple[Small, float]) -> None:
    for harm in HARM:
        path = sorted((small.root / "mlartifacts").rglob("epoch-0002.safetensors"))[0]
        whole = path.read_bytes()
        HARM[harm](path)
        line = small.run("run", "one", "--jobs", "2", code=2).splitlines()[-1]
        found(".safetensors in MLflow", line, "error: ", "epoch-0002.safetensors", "delete mlflow.db and mlartifacts")
        if harm != "unreadable":
            replace(path, whole)
    rebuild(small, undisturbed)


def rebuild(small: Small, undisturbed: tuple[Small, float]) -> None:
    """Do what the error lines say; a store with its tables takes the place of none, to save time."""
    for name in ("mlflow.db", "mlartifacts"):
        remove(small.root / name)
    shutil.copy(undisturbed[0].root / "empty.db", small.root / "mlflow.db")
    assert "trained 0, reused 4" in as_ever(small, undisturbed)


def test_the_database(small: Small, undisturbed: tuple[Small, float]) -> None:
    path = small.root / "mlflow.db"
    for harm in ("cut", "flipped", "unreadable"):
        whole = path.read_bytes()
        HARM[harm](path, at=3)  # in the name that a file of sqlite begins with
        line = small.run("run", "one", "--jobs", "2", code=2).splitlines()[-1]
        found("mlflow.db", line, "error: ", "mlflow.db", "delete mlflow.db and mlartifacts")
        remove(path)
        path.write_bytes(whole)
    rebuild(small, undisturbed)
    HARM["emptied"](path)  # a new store, as good as none: the runs are published again, and nothing is trained
    remove(small.root / "mlartifacts")
    assert "trained 0, reused 4" in as_ever(small, undisturbed)
    FOUND["mlflow.db"] += 1


def test_results(small: Small, undisturbed: tuple[Small, float]) -> None:
    folder = small.root / OUT / "results" / "one"
    for name in ("runs.json", "cells.json", "curves.csv"):
        path = folder / name
        whole = path.read_bytes()
        for harm in ("cut", "emptied", "unreadable"):
            HARM[harm](path)
            with pytest.raises(LmcError) as error:
                read_study(folder)
            found("results file", str(error.value), f"{path}: ", "run `lmc compare one`")
            remove(path)
            path.write_bytes(whole)
        HARM["flipped"](path, at=digit_at(path))  # a number that still can be read: only verifying can tell
        printed = small.run("verify", "one", code=1)
        found("results file", next(line for line in printed.splitlines() if name in line))
        replace(path, whole)
    for path in folder.iterdir():
        HARM["cut"](path)
    as_ever(small, undisturbed)


def digit_at(path: Path) -> int:
    """Return where a number stands that says something of a run."""
    text = path.read_text()
    patterns = {
        "runs.json": r'"final_sha256": "\D*(\d)',
        "cells.json": r'"error_0": (\d)',
        "curves.csv": r",test,0.0,(\d)",
    }
    match = re.search(patterns[path.name], text)
    assert match
    return match.start(1)


def test_params(small: Small, undisturbed: tuple[Small, float]) -> None:
    path = small.root / "params.yaml"
    whole = path.read_bytes()
    for harm in HARM:
        HARM[harm](path, at=0)
        line = small.run("run", "one", code=2).splitlines()[-1]
        found("params.yaml", line, "error: ", "params.yaml")
        assert small.results() == undisturbed[0].results()
        remove(path)
        path.write_bytes(whole)
    assert "trained 0, reused 4" in as_ever(small, undisturbed)


def test_raw_archives(tmp_path: Path) -> None:
    raw, shape = tmp_path / "raw", (3, 4, 2)
    raw.mkdir()
    images = (np.arange(72) * 7 % 256).astype(np.uint8).reshape(3, *shape)
    batches = {"data_batch_1": cifar_batch(images, [0, 1, 2]), "test_batch": cifar_batch(images, [2, 1, 0])}
    made = [(tarfile.TarInfo(f"cifar-10-batches-py/{name}"), content) for name, content in batches.items()]
    archive = tar_gz(raw / "cifar-10-python.tar.gz", made)
    whole = archive.read_bytes()
    files = []
    for name, content in batches.items():
        (tmp_path / name).write_bytes(content)
        files.append(recorded(tmp_path / name))
    info = with_fields(
        CATALOG["cifar10"],
        shape=shape,
        classes=3,
        n_train=3,
        n_test=3,
        digest="",
        files=tuple(files),
        archive=recorded(archive),
    )
    for harm in HARM:
        HARM[harm](archive)
        with pytest.raises(LmcError) as error:
            fetch(info, raw, None)
        found("raw archive", str(error.value), f"{archive}: ", "delete it and get it again")
        assert [path.name for path in raw.iterdir()] == [archive.name]
        remove(archive)
        archive.write_bytes(whole)
    train, _ = read_arrays(info, fetch(info, raw, None))
    assert train.images.numpy().tolist() == images.tolist()
    for harm in HARM:  # what was taken out of it
        path = raw / info.folder / "data_batch_1"
        HARM[harm](path)
        with pytest.raises(LmcError) as error:
            fetch(info, raw, None)
        found("raw file", str(error.value), f"{path}: ", "delete it and get it again")
        remove(path)
        fetch(info, raw, None)
        assert path.read_bytes() == batches["data_batch_1"]
