"""Entry point of `lmc`: a user's mistake is one line and exit code 2, a signal is 130 or 143."""

from __future__ import annotations

import atexit
import gc
import sys
from contextlib import suppress
from typing import NoReturn

from lmc_repro.common.errors import Interrupted, LmcError
from lmc_repro.common.signals import GO_ON, listen, received


def main() -> None:
    """Run `lmc`; what is imported here decides how fast `lmc --help` is."""
    _collect_little()
    from lmc_repro.cli.app import app

    listen()
    try:
        app()
    except LmcError as error:
        _end(f"error: {error}", 2)
    except Interrupted as interrupted:
        _end(GO_ON, interrupted.code)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _end(f"error: {error.filename or 'file system'}: {error.strerror}; fix it and run again", 2)
    except Exception:
        if (signalled := received()) is None:
            raise
        _end(GO_ON, signalled.code)


def _end(line: str, code: int) -> NoReturn:
    """Print the last line and exit; a disk too full for the line itself changes neither the code nor the silence."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    sys.exit(code)


def _collect_little() -> None:
    """Spare the garbage collector what torch and MLflow leave: a fifth of their import, and a second at exit."""
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)  # all that is left goes with the process
