"""The command line, `lmc`: a user's mistake is one line and exit code 2."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from lmc_repro.errors import Interrupted, LmcError


def main() -> None:
    """Run `lmc`; what is imported here decides how fast `lmc --help` is."""
    from lmc_repro.cli.app import app

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
    except LmcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"error: {error.filename or 'file system'}: {error.strerror}; mend it and run again", file=sys.stderr)
        sys.exit(2)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted
