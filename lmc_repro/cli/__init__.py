"""The command line, `lmc`: a user's mistake is one line and exit code 2."""

from __future__ import annotations

import sys

from lmc_repro.errors import Interrupted, LmcError
from lmc_repro.interrupt import GO_ON, listen


def main() -> None:
    """Run `lmc`; what is imported here decides how fast `lmc --help` is."""
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
        print(f"error: {error.filename or 'file system'}: {error.strerror}; mend it and run again", file=sys.stderr)
        sys.exit(2)
