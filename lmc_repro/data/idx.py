"""Reader of MNIST's file format: gzipped IDX of unsigned bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmc_repro.errors import LmcError

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the array in a gzipped IDX file: uint8 with `dimensions` axes.

    The header is two zero bytes, the type, the number of axes, and one big-endian uint32 per axis. LmcError, naming
    the file, if it is missing, truncated, corrupt, or of another type or another number of axes.
    """
    fix = "delete it and get it again"
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise LmcError(f"{path}: no such file; get it again") from None
    except (OSError, EOFError, zlib.error) as error:
        raise LmcError(f"{path}: truncated or not gzip ({' '.join(str(error).split())}); {fix}") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        found = content[:4].hex(" ") or "nothing"
        raise LmcError(f"{path}: not IDX of unsigned bytes with {dimensions} axes (starts with {found}); {fix}")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    if len(content) - header != math.prod(shape):
        raise LmcError(f"{path}: {len(content) - header} bytes for shape {list(shape)}; {fix}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
