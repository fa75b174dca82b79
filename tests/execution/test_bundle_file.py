"""A bundle is read only if it is whole, of this version, and has no name that could land elsewhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import EXAMPLE
from small_study import make_plan

from lmc_repro.errors import LmcError
from lmc_repro.execution.bundle_file import Header, unpack_bundle, write_bundle
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.plan_file import plan_from_json, plan_to_json
from lmc_repro.studies.expand import Choice, plan_study

RUN = "runs/0123456789abcdef/metrics.csv"
PAIR = "pairs/0123456789abcdef.json"
HEADER = Header(make_plan(), {"digits": "d" * 64}, {}, "cpu", "portable:AuthenticAMD", "2.14.1", 1, 2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "metrics.csv").write_bytes(b"epoch,split\n")
    write_bundle(tmp_path / "a.lmc", HEADER, {RUN: tmp_path / "metrics.csv", PAIR: b"{}\n"})
    return tmp_path / "a.lmc"


def test_what_was_written_is_read(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    assert unpack_bundle(bundle, folder) == HEADER
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {RUN: b"epoch,split\n", PAIR: b"{}\n"}


def test_equal_files_give_equal_bytes(bundle: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b.lmc", HEADER, {PAIR: b"{}\n", RUN: b"epoch,split\n"})
    assert (tmp_path / "b.lmc").read_bytes() == bundle.read_bytes()


def header(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files["bundle.json"] = json.dumps({**json.loads(files["bundle.json"]), **changes}).encode()

    return change


def with_file(name: str) -> Callable[[dict[str, bytes]], None]:
    """Return what adds a file and lists it with its sha256, as who means harm would."""

    def change(files: dict[str, bytes]) -> None:
        from lmc_repro.files import sha256_bytes

        files[name] = b"!"
        said = json.loads(files["bundle.json"])
        said["files"][name] = sha256_bytes(b"!")
        files["bundle.json"] = json.dumps(said).encode()

    return change


WRONG: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "other bytes": (lambda files: files.update({RUN: b"epoch;split\n"}), "metrics.csv: damaged: its sha256"),
    "missing": (lambda files: files.pop(PAIR), "in the file or in its list, not in both"),
    "added": (lambda files: files.update({PAIR.replace("0", "1"): b""}), "in the file or in its list, not in both"),
    "outside": (with_file("../outside.txt"), "'../outside.txt', which is no file of a bundle"),
    "outside below": (with_file("runs/../../outside.txt"), "which is no file of a bundle"),
    "absolute": (with_file("/tmp/outside.txt"), "which is no file of a bundle"),
    "a program": (with_file("runs/0123456789abcdef/run.py"), "which is no file of a bundle"),
    "newer": (header(format=2), "format 2, this program reads 1"),
    "newer plan": (header(plan={"version": 2}), "version 2, this program reads 1"),
    "no plan": (header(plan={"version": 1, "study": "one"}), "is not a plan"),
    "no digests": (header(digests=None), "bundle.json: damaged"),
    "no header": (lambda files: files.pop("bundle.json"), "is not a bundle"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(
    change: Callable[[dict[str, bytes]], Any], said: str, bundle: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(bundle) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    with zipfile.ZipFile(bundle, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    with pytest.raises(LmcError) as error:
        unpack_bundle(bundle, tmp_path / "in" / "unpacked")
    assert said in str(error.value) and str(bundle) in str(error.value)
    assert not list(tmp_path.rglob("outside.txt"))


def test_compressed_or_cut_off(bundle: Path, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("bundle.json", b"{}" * 100)
    with pytest.raises(LmcError, match="is compressed or encrypted"):
        unpack_bundle(bundle, tmp_path / "unpacked")
    for content in (whole[:-30], b"", b"PK"):
        bundle.write_bytes(content)
        with pytest.raises(LmcError, match="is not a bundle, or not whole"):
            unpack_bundle(bundle, tmp_path / "unpacked")


@pytest.mark.parametrize("profile", ["digits", "paper"])
def test_a_plan_is_its_equal_after_json(profile: str) -> None:
    plan = plan_study(load_params(EXAMPLE), "table1", Choice(profile=profile, pairs=2, replicas=3))
    again = plan_from_json(json.loads(json.dumps(plan_to_json(plan))), "plan.json")
    assert again == plan
    for key, optimizer in plan.profile_config.optimizers.items():  # whose defaults have no source of their own
        assert again.profile_config.optimizers[key].model_fields_set == optimizer.model_fields_set
