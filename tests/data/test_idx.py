from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lmc_repro.data.idx import read_idx
from lmc_repro.errors import LmcError


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_reads_big_endian_shape(tmp_path: Path) -> None:
    header = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 1, 0))
    body = bytes(range(256)) * 6
    array = read_idx(write(tmp_path / "a.gz", header + body), 3)
    assert array.shape == (2, 3, 256) and array.dtype == np.uint8
    assert array.tobytes() == body


def test_errors_name_the_file(tmp_path: Path) -> None:
    labels = bytes((0, 0, 8, 1, 0, 0, 0, 4)) + b"abcd"
    good = write(tmp_path / "a.gz", labels)
    assert read_idx(good, 1).tolist() == [97, 98, 99, 100]
    whole = good.read_bytes()
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # in the checksum
    cases = {
        "no such file": lambda path: path.unlink(),
        "truncated or not gzip": lambda path: path.write_bytes(whole[:-5]),
        r"truncated or not gzip \(CRC": lambda path: path.write_bytes(flipped),
        "truncated or not gzip .Not a gzipped": lambda path: path.write_bytes(b"<html>not found</html>"),
        "starts with nothing": lambda path: write(path, b""),
        "with 1 axes .starts with 00 00 08 02": lambda path: write(path, b"\0\0\x08\x02" + bytes(20)),
        "starts with 00 00 0d 01": lambda path: write(path, b"\0\0\x0d\x01" + labels[4:]),
        "3 bytes for shape .4.": lambda path: write(path, labels[:-1]),
        "5 bytes for shape .4.": lambda path: write(path, labels + b"e"),
    }
    for message, damage in cases.items():
        damage(good)
        with pytest.raises(LmcError, match=rf"a\.gz: .*{message}") as caught:
            read_idx(good, 1)
        assert "\n" not in str(caught.value) and "get it again" in str(caught.value)
        good.write_bytes(whole)
