"""Portable numerics: no product is MKL's, and kernels, caches and the caller's environment move no bit."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmc_repro.common.numerics import is_portable
from lmc_repro.common.openblas import CORE_VARIABLE, L2_VARIABLE

pytestmark = pytest.mark.skipif(not is_portable(), reason="this CPU has no AVX2, or native numerics are tested")

BETWEEN = "-- a product of torch's own --"
TESTS = Path(__file__).parent.parent
CHOSEN = ("LMC_", "MKL_", "ATEN_", "OPENBLAS_")
ALONE = {name: value for name, value in os.environ.items() if not name.startswith(CHOSEN)}


def run(*words: str, **environment: str) -> str:
    command = [sys.executable, "-m", "known_answers.portable_program", *words]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(command, capture_output=True, text=True, env={**ALONE, "PYTHONPATH": path, **environment})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def bits(**environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("bits", **environment))
    return found


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    return bits()


def calls(*words: str) -> tuple[int, int]:
    """Return how many products MKL reports in training and paths, and in one torch.mm after them."""
    before, after = run("calls", *words, MKL_VERBOSE="1").split(BETWEEN)
    lines = [[line for line in part.splitlines() if "GEMM" in line] for part in (before, after)]
    return len(lines[0]), len(lines[1])


def test_no_product_of_training_or_of_a_path_is_mkls() -> None:
    assert calls() == (0, 1)


@pytest.mark.parametrize("how", ["native", "bypass"])
def test_mkl_reports_products_that_are_its_own(how: str) -> None:
    inside, after = calls(how)
    assert inside > 10 and after == 1


# This build of OpenBLAS has AMD's Zen as another name of Haswell's kernels: the same table, whatever CPU it finds.
@pytest.mark.parametrize("core, l2", [("Haswell", "256"), ("Zen", "2048")])
def test_cores_and_cache_sizes_move_no_bit(core: str, l2: str, usual: dict[str, Any]) -> None:
    found = bits(**{CORE_VARIABLE: core, L2_VARIABLE: l2})
    assert found == usual and found["core"] == "Haswell"


def test_other_kernels_have_other_bits(usual: dict[str, Any]) -> None:
    """The test above can fail: the variable reaches the library, and kernels decide bits."""
    other = bits(**{CORE_VARIABLE: "Nehalem"})
    assert other["core"] == "Nehalem"
    same = [name for name in usual["sha256"] if other["sha256"][name]["weights"] == usual["sha256"][name]["weights"]]
    assert same == []


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2", "OPENBLAS_L2_SIZE": "64"},
        {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    ],
)
def test_the_callers_environment_moves_no_bit(environment: dict[str, str], usual: dict[str, Any]) -> None:
    assert bits(**environment) == usual
    program = "import os, lmc_repro.common.openblas as ours; ours.loaded_core(); print(dict(os.environ))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**ALONE, **environment})
    assert environment.items() <= ast.literal_eval(done.stdout).items()  # it is left as it was


@pytest.mark.parametrize("first", ["numpy, sklearn.linear_model, scipy.linalg", "torch"])
def test_whatever_was_imported_before(first: str) -> None:
    """In a notebook: numpy's OpenBLAS has its own kernels by then, and torch is imported."""
    program = f"""
import {first}
import numpy; numpy.ones((99, 99)) @ numpy.ones((99, 99))
from lmc_repro.common.numerics import choose_mode, numerics_tag
choose_mode("portable")
import torch
from lmc_repro.models.products import matmul
from lmc_repro.common.openblas import loaded_core
g = torch.Generator().manual_seed(0)
a, b = torch.empty(2, 70, 500).uniform_(-1, 1, generator=g), torch.empty(2, 500, 33).uniform_(-1, 1, generator=g)
print(loaded_core(), numerics_tag().split(":")[0], torch.backends.cpu.get_cpu_capability())
print(matmul(a, b).double().sum().item().hex())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ALONE)
    assert done.stdout.split()[:3] == ["Haswell", "portable", "AVX2"], done.stderr
    assert done.stdout.split()[3] == SUM


SUM = "-0x1.5869fd3080000p+7"


def test_portable_after_torchs_first_operation_is_refused() -> None:
    program = """
import torch
torch.ones(3) + 1
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import choose_mode
try:
    choose_mode("portable")
    print(torch.backends.cpu.get_cpu_capability())
except LmcError:
    print("refused", torch.backends.cpu.get_cpu_capability())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ALONE)
    assert done.stdout.split() in (["AVX2"], ["refused", "AVX512"])  # a CPU without AVX-512 has nothing to refuse


def test_workers_hold_to_the_mode_that_their_parent_chose() -> None:
    program = """
import os
from lmc_repro.common.numerics import numerics_tag, use_one_thread
use_one_thread()
import torch
print(numerics_tag().split(":")[0], torch.backends.cpu.get_cpu_capability())
"""
    chosen = {**ALONE, "LMC_NUMERICS": "portable", "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=chosen)
    assert done.stdout.split() == ["portable", "AVX2"], done.stderr
