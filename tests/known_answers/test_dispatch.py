"""One set of bits, whatever code the libraries choose for the CPU: training, data, results, report and figures.

Switches of the libraries tell each process another CPU; a control shows of each switch that it does something.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmc_repro.common.numerics import cpu_vendor, is_portable
from lmc_repro.report.figures import drawing_style

pytestmark = pytest.mark.skipif(not is_portable(), reason="this CPU has no AVX2, or native numerics are tested")

PROGRAM = Path(__file__).with_name("dispatch.py")
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

Parts = dict[str, dict[str, Any]]


def run(environment: dict[str, str], *before: str) -> Parts:
    """Return what the program prints under these switches alone, run by a command that may stand before it."""
    own = {name: value for name, value in os.environ.items() if name not in NO_AVX512}
    own["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [*(before or [sys.executable]), str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, env={**own, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def assert_same(found: Parts, expected: Parts) -> None:
    """Every digest but those of the controls, by name."""
    for part in expected.keys() - {"controls"}:
        other = [name for name, digest in expected[part].items() if found[part][name] != digest]
        assert not other and found[part].keys() == expected[part].keys(), (part, other)


@pytest.fixture(scope="module")
def here() -> Parts:
    return run({})


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
    found = run({"LD_PRELOAD": str(other_vendor), "NUMBA_CPU_NAME": "znver2"})
    assert found["controls"]["vml, before"] == 0  # in all of the program's work
    assert found["controls"]["vml, after"] > 0
    assert found["controls"]["numba"] != here["controls"]["numba"]
    assert not INTEL or found["controls"]["mkl"] != here["controls"]["mkl"]
    assert_same(found, here)


@pytest.mark.slow
def test_no_avx512(here: Parts) -> None:
    found = run(NO_AVX512)
    for control, known in (("numba", True), ("mkl", INTEL), ("roots", INTEL), ("numpy", AVX512), ("openblas", AVX512)):
        assert not known or found["controls"][control] != here["controls"][control], control
    assert_same(found, here)


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-x86_64 of qemu-user, which can be other CPUs")
@pytest.mark.skipif(os.environ.get("LMC_FAULTS") != "long", reason="takes minutes: make faults runs it")
def test_an_emulated_epyc(here: Parts) -> None:
    found = run({}, str(EMULATOR), "-0", sys.executable, "-cpu", "EPYC-Rome", os.path.realpath(sys.executable))
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
