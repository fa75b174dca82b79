"""One set of bits on every CPU: kernels, caches, other code of the libraries and the caller's environment move none.

Switches of the libraries tell each process another CPU; a control shows of each switch that it does something."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmc_repro.common.numerics import cpu_vendor, is_portable
from lmc_repro.common.openblas import CORE_VARIABLE, L2_VARIABLE
from lmc_repro.report.figures import drawing_style

pytestmark = pytest.mark.skipif(not is_portable(), reason="this CPU has no AVX2, or native numerics are tested")


PROGRAM = Path(__file__).with_name("dispatch.py")
BETWEEN = "-- after training and paths --"


INTEL, AVX512 = cpu_vendor() == "GenuineIntel", " avx512vl" in Path("/proc/cpuinfo").read_text()
COMPILER, EMULATOR = shutil.which("cc"), shutil.which("qemu-x86_64")


NO_AVX512 = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OPENBLAS_CORETYPE": "Haswell",  # of numpy's own copy, which multiplies matplotlib's matrices of 3 x 3
    "NUMBA_CPU_NAME": "haswell",
}


VML = (
    *("Acos", "Asin", "Atan", "Cos", "Erf", "Erfc", "ErfInv", "Exp"),
    *("Ln", "Log10", "Log2", "Sin", "Sqrt", "Tan", "Tanh", "Trunc"),
)
"""The functions of MKL that torch calls in its own place (ATen/cpu/vml.h)."""


CHOSEN = ("LMC_NUMERICS", "MKL_", "ATEN_", "OPENBLAS_", "GLIBC_", "NPY_", "NUMBA_CPU")
ALONE = {name: value for name, value in os.environ.items() if not name.startswith(CHOSEN)}
ALONE["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)


Parts = dict[str, dict[str, Any]]


def run(*words: str | Path, python: tuple[str, ...] = (sys.executable,), **environment: str) -> str:
    """Return what Python prints, run with these words under these switches alone."""
    done = subprocess.run([*python, *words], capture_output=True, text=True, env={**ALONE, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def parts(*names: str, **environment: str) -> Parts:
    return parsed(run(PROGRAM, *names, **environment))


def parsed(printed: str) -> Parts:
    return dict(json.loads(printed.splitlines()[-1]))


def assert_same(found: Parts, expected: Parts) -> None:
    """Every digest but those of the controls, by name."""
    for part in expected.keys() - {"controls"}:
        other = [name for name, digest in expected[part].items() if found[part][name] != digest]
        assert not other and found[part].keys() == expected[part].keys(), (part, other)


@pytest.fixture(scope="module")
def printed() -> str:
    """The program's output here, with MKL's reports."""
    return run(PROGRAM, MKL_VERBOSE="1")


@pytest.fixture(scope="module")
def here(printed: str) -> Parts:
    return parsed(printed)


@pytest.mark.slow
def test_no_product_of_training_or_of_a_path_is_mkls(printed: str) -> None:
    """The one that it does report is that of the controls."""
    training, rest = printed.split(BETWEEN)
    assert (training.count("GEMM"), rest.count("GEMM")) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["native", "bypass"])
def test_mkl_reports_products_that_are_its_own(how: str) -> None:
    assert run(PROGRAM, "calls", how, MKL_VERBOSE="1").count("GEMM") > 10


# This build of OpenBLAS has AMD's Zen as another name of Haswell's kernels: the same table, whatever CPU it finds.
CORES = ({CORE_VARIABLE: "Haswell", L2_VARIABLE: "256"}, {CORE_VARIABLE: "Zen", L2_VARIABLE: "2048"})
CALLERS = (
    {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2", "OPENBLAS_L2_SIZE": "64"},
    {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
)


@pytest.mark.slow
@pytest.mark.parametrize("cores, callers", list(zip(CORES, CALLERS, strict=True)))
def test_cores_cache_sizes_and_the_callers_environment_move_no_bit(
    cores: dict[str, str], callers: dict[str, str], here: Parts
) -> None:
    found = parts("training", "controls", **cores, **callers)
    assert found["training"] == here["training"] and found["controls"]["core"] == "Haswell"
    program = "import os, lmc_repro.common.openblas as ours; ours.loaded_core(); print(dict(os.environ))"
    assert callers.items() <= ast.literal_eval(run("-c", program, **callers)).items()  # it is left as it was


@pytest.mark.slow
def test_other_kernels_have_other_bits(here: Parts) -> None:
    """The test above can fail: the variable reaches the library, and kernels decide bits."""
    other = parts("training", "controls", **{CORE_VARIABLE: "Nehalem"})
    assert other["controls"]["core"] == "Nehalem"
    weights = [name for name in here["training"] if name.endswith(" weights")]
    assert weights and [name for name in weights if other["training"][name] == here["training"][name]] == []


@pytest.mark.slow
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
    assert run("-c", program).split() == ["Haswell", "portable", "AVX2", "-0x1.5869fd3080000p+7"]


@pytest.mark.slow
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
    assert run("-c", program).split() in (
        ["AVX2"],
        ["refused", "AVX512"],
    )  # a CPU without AVX-512 has nothing to refuse


@pytest.mark.slow
def test_workers_hold_to_the_mode_that_their_parent_chose() -> None:
    program = """
import os
from lmc_repro.common.numerics import numerics_tag, use_one_thread
use_one_thread()
import torch
print(numerics_tag().split(":")[0], torch.backends.cpu.get_cpu_capability())
"""
    chosen = {"LMC_NUMERICS": "portable", "ATEN_CPU_CAPABILITY": "default"}
    assert run("-c", program, **chosen).split() == ["portable", "AVX2"]


@pytest.fixture
def other_vendor(tmp_path: Path) -> Path:
    """A library to preload: MKL takes the CPU for another vendor's, and calls of its vector functions are counted."""
    counted = "".join(f"void vm{kind}{name}(void) {{ vml_calls++; }}\n" for name in VML for kind in "sd")
    source, library = tmp_path / "vendor.c", tmp_path / "vendor.so"
    source.write_text(f"int vml_calls;\nint mkl_serv_intel_cpu_true(void) {{ return {int(not INTEL)}; }}\n{counted}")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
def test_another_vendor(here: Parts, other_vendor: Path) -> None:
    found = parts(LD_PRELOAD=str(other_vendor), NUMBA_CPU_NAME="znver2")
    assert found["controls"]["vml, before"] == 0  # in all of the program's work
    assert found["controls"]["vml, after"] > 0
    assert found["controls"]["numba"] != here["controls"]["numba"]
    assert not INTEL or found["controls"]["mkl"] != here["controls"]["mkl"]
    assert_same(found, here)


@pytest.mark.slow
def test_no_avx512(here: Parts) -> None:
    found = parts(**NO_AVX512)
    known = {"numba": True, "mkl": INTEL, "roots": INTEL, "numpy": AVX512, "numpy's openblas": AVX512}
    for control, seen in known.items():
        assert not seen or found["controls"][control] != here["controls"][control], control
    assert_same(found, here)


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-x86_64 of qemu-user, which can be other CPUs")
@pytest.mark.skipif(os.environ.get("LMC_FAULTS") != "long", reason="takes minutes: make faults runs it")
def test_an_emulated_epyc(here: Parts) -> None:
    emulated = (str(EMULATOR), "-0", sys.executable, "-cpu", "EPYC-Rome", os.path.realpath(sys.executable))
    # qemu 7.2 has gathers of AVX2 wrong: numpy's argsort of uint32, for a PDF's palette, loses its order or crashes.
    found = parsed(run(PROGRAM, python=emulated, NPY_DISABLE_CPU_FEATURES="X86_V3"))
    assert "znver2" in found["controls"]["numba"]
    assert_same(found, here)


def test_the_switch_of_the_c_library() -> None:
    """Its functions have variants with other bits for CPUs without FMA, which have no AVX2; for AVX-512 it has none."""
    command = [sys.executable, "-c", "import math; print([math.exp(i / 7) for i in range(2000)])"]
    tunables = ("", NO_AVX512["GLIBC_TUNABLES"], "glibc.cpu.hwcaps=-FMA")
    plain, no_avx512, no_fma = (
        subprocess.check_output(command, env={**os.environ, "GLIBC_TUNABLES": tunable}) for tunable in tunables
    )
    assert plain == no_avx512 != no_fma


def test_letters_are_matplotlibs_own() -> None:
    from matplotlib import font_manager, get_data_path

    with drawing_style():
        found = font_manager.findfont(font_manager.FontProperties())
    assert Path(found).is_relative_to(get_data_path())
