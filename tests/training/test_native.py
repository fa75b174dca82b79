"""A child has the bits of any stack in native numerics too: the same tests, in a process that has chosen them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmc_repro.common.numerics import PORTABLE

TESTS = Path(__file__).parent.parent
ALONE = {name: value for name, value in os.environ.items() if name not in (*PORTABLE, "LMC_NUMERICS")}


def native(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env={**ALONE, **environment})


@pytest.mark.parametrize("file", ["models/test_stacks.py", "training/test_stack_invariance.py"])
def test_native_stacks(file: str) -> None:
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(TESTS / file)]
    done = native(command, LMC_TEST_NUMERICS="native")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("chosen", ["from lmc_repro.common.numerics import choose_mode; choose_mode('native')", ""])
def test_a_process_is_native_where_nobody_has_chosen(chosen: str) -> None:
    lines = [
        "import os, torch",
        chosen,
        "from lmc_repro.common.numerics import numerics_tag, use_one_thread",
        "use_one_thread()",
        "print(numerics_tag().split(':')[0], os.environ['LMC_NUMERICS'], os.environ['MKL_CBWR'])",
    ]
    done = native(["-c", "\n".join(lines)])
    assert done.stdout.split() == ["native", "native", "AUTO"], done.stderr
    assert native(["-c", "\n".join(lines)], MKL_CBWR="AVX2").stdout.split()[2] == "AVX2"  # its owner's choice
