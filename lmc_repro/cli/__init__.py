"""Entry point of `lmc`: a user's mistake is one line and exit code 2, a signal is 130 or 143."""

from __future__ import annotations

import atexit
import gc
import sys

from lmc_repro.errors import Interrupted, LmcError
from lmc_repro.interrupt import GO_ON, listen, received


def main() -> None:
    """Run `lmc`; what is imported here decides how fast `lmc --help` is."""
    _collect_little()
    from lmc_repro.cli.app import app

    listen()
    try:
        app()
    except LmcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as interrupted:
        print(GO_ON, file=sys.stderr)
        sys.exit(interrupted.code)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"error: {error.filename or 'file system'}: {error.strerror}; fix it and run again", file=sys.stderr)
        sys.exit(2)
    except Exception:
        if (signalled := received()) is None:
            raise
        print(GO_ON, file=sys.stderr)
        sys.exit(signalled.code)


def _collect_little() -> None:
    """Spare the garbage collector what torch and MLflow leave: a fifth of their import, and a second at exit."""
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)  # all that is left goes with the process
