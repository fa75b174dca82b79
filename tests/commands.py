"""`lmc` in this process, as it is typed: exit code, standard output, standard error."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import pytest

from lmc_repro.cli import main


class Said(NamedTuple):
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def lmc(*words: object) -> Said:
    """Run `lmc` with these words; an exception of a command is the test's."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["lmc", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    return Said(int(end.value.code or 0), out.getvalue(), err.getvalue())


def refused(*words: object) -> str:
    """Return the one line, without `error: `, with which `lmc` refuses these words by exit code 2."""
    code, out, err = lmc(*words)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: "), err
    return err.removeprefix("error: ").rstrip("\n")
