"""Pickles that would run something, or that hold more than CIFAR's do."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from publishers import array, number, numbers, python2_dict, text

from lmc_repro.data.safe_pickle import load_pickle
from lmc_repro.errors import LmcError

ROWS = np.arange(12, dtype=np.uint8).reshape(2, 6)


def test_plain_values_and_arrays(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(python2_dict({"data": array(ROWS), "labels": numbers([3, 250]), "batch_label": text("x")}))
    content = load_pickle(path)
    assert set(content) == {b"data", b"labels", b"batch_label"}
    assert content[b"data"].dtype == np.uint8 and (content[b"data"] == ROWS).all()
    assert content[b"labels"] == [3, 250] and content[b"batch_label"] == b"x"


def test_a_pickle_that_would_run_a_command_runs_nothing(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "batch"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[list[str]]]:
            return subprocess.check_call, (["touch", str(proof)],)

    path.write_bytes(pickle.dumps({b"data": Evil()}))
    pickle.loads(path.read_bytes())  # it does run where pickles are trusted
    proof.unlink()
    with pytest.raises(LmcError, match=r"batch: not a pickle.*asks for subprocess.check_call") as caught:
        load_pickle(path)
    assert not proof.exists() and "\n" not in str(caught.value)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"cbuiltins\neval\n" + text("1") + b"\x85R", "asks for builtins.eval"),
        (b"c__builtin__\ngetattr\n)R", "asks for"),
        (b"cnumpy\nload\n" + text("x") + b"\x85R", "asks for numpy.load"),
        (b"cnumpy.core.multiarray\nfromstring\n)R", "asks for numpy.core.multiarray.fromstring"),
        (b"(ios\nsystem\n" + text("true") + b"t.", "asks for os.system"),
        (b"cnumpy\nndarray\n" + number(9) + b"\x85R", "no part of a plain array"),
        (RECONSTRUCT + b"}" + text("_function") + b"Nsb", "no part of a plain array"),
        (b"cnumpy\ndtype\n" + text("O8") + b"\x85R", "of type b'O8', not of unsigned bytes"),
        (b"Pname\n", "persistent"),
        (RECONSTRUCT + b")R" + text("state") + b"b", "not a pickle of plain values"),
        (array(ROWS.astype("<f4")), "of type b'f4', not of unsigned bytes"),
        (array(ROWS).replace(text(ROWS.tobytes()), text(b"short")), "no plain block of bytes"),
        (b"cnumpy.core.multiarray\n_reconstruct\n\x85\x93", "not a pickle of plain values"),
    ],
)
def test_what_is_not_admitted(tmp_path: Path, value: bytes, found: str) -> None:
    path = tmp_path / "batch"
    path.write_bytes(python2_dict({"data": value}))
    with pytest.raises(LmcError, match=r"batch: not a pickle of plain .* \(.*\); delete it") as caught:
        load_pickle(path)
    assert found in str(caught.value)


def test_damaged_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    whole = python2_dict({"data": array(ROWS)})
    for content in (b"", b"no pickle", whole[:-20], b"\x80\x02](."):
        path.write_bytes(content)
        with pytest.raises(LmcError, match="batch: not a pickle"):
            load_pickle(path)
    path.unlink()
    with pytest.raises(LmcError, match="batch: no such file"):
        load_pickle(path)
