"""The numerics mode of this process: one set of bits on every CPU with AVX2 (portable), or this CPU's fastest (native).

Portable products are OpenBLAS's (`lmc_repro.common.openblas`), everything else is torch's at AVX2. Native products are
MKL's, which takes other branches on another vendor's CPU, so vendor and instruction set are part of that tag.

The libraries read their variables before their first operation and never again, so the mode is set before torch
computes anything, belongs to the whole process, and is inherited by its workers.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from lmc_repro.common.errors import LmcError
from lmc_repro.common.openblas import openblas_tag

Mode = Literal["portable", "native"]

PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2"}
# Without it MKL may choose kernels by a matrix's address: a small network's bits would depend on its stack.
NATIVE = {"MKL_CBWR": "AUTO"}
_CHOSEN = "LMC_NUMERICS"
_mode = os.environ.get(_CHOSEN)  # cached: each product asks, and the environment is slow to read

# Raised when faster code changes bits in native mode only (TRAINING_NUMERICS: in both modes).
NATIVE_NUMERICS = 2


def choose_mode(wanted: Mode) -> tuple[Mode, str | None]:
    """Set the process's mode and return it, with one line of explanation where portable cannot be had."""
    remark = None
    if wanted == "portable" and (reason := _not_portable()):
        wanted, remark = "native", f"numerics: native, for {reason}; bits are this machine's own"
    if wanted == "portable":
        os.environ.update(PORTABLE)
        if (torch := sys.modules.get("torch")) and (found := torch.backends.cpu.get_cpu_capability()) != "AVX2":
            raise LmcError(
                f"numerics: portable came too late, torch computes with {found} already; choose it before torch's "
                "first operation, e.g. LMC_NUMERICS=portable in the environment"
            )
    else:
        for name, value in NATIVE.items():
            os.environ.setdefault(name, value)
    global _mode
    os.environ[_CHOSEN] = _mode = wanted
    return wanted, remark


def mode_variables() -> dict[str, str]:
    """Return the environment variables of this process's mode, for processes that it does not start itself."""
    return {name: os.environ[name] for name in (_CHOSEN, *PORTABLE, *NATIVE) if name in os.environ}


def numerics_tag(device: str = "cpu", precisions: Iterable[str] = ()) -> str:
    """Return the tag of everything in this process that decides bits, for fingerprints.

    portable:openblas-0.3.34.481.3:Haswell, native:AuthenticAMD:AVX2:2, cuda:<name>; with bf16 among the `precisions` of
    trainings on a CPU, native:GenuineIntel:AVX512:2:amx_bf16. On a GPU a run's bits may depend on the size of its stack
    too, which no plan knows beforehand: it is recorded in status.json, and is in no fingerprint.
    """
    if device.startswith("cuda"):
        import torch

        return f"cuda:{torch.cuda.get_device_name()}"
    if is_portable():
        return f"portable:{openblas_tag()}"
    import torch

    tag = f"native:{cpu_vendor()}:{torch.backends.cpu.get_cpu_capability()}:{NATIVE_NUMERICS}"
    return f"{tag}:{bf16_unit()}" if "bf16" in precisions else tag


def is_portable() -> bool:
    """Return whether this process's numerics are portable."""
    return _mode == "portable"


def cpu_vendor() -> str:
    """Return the CPU's vendor as the CPU itself says, e.g. GenuineIntel or AuthenticAMD; its architecture on others."""
    return _cpu_says("vendor_id") or platform.machine().lower()


def bf16_unit() -> str | None:
    """Return what multiplies bfloat16 in this CPU, amx_bf16 or avx512_bf16; None where nothing does.

    The two add in another order, so that their bits differ.
    """
    flags = _cpu_says("flags").split()
    return next((unit for unit in ("amx_bf16", "avx512_bf16") if unit in flags), None)


def _cpu_says(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def torch_version() -> str:
    """Return torch's version without the build suffix, and without importing it."""
    return version("torch").split("+")[0]


def use_one_thread() -> None:
    """Make torch use one thread in this process; with two, a stack of one has other bits than a larger stack.

    Also holds the process to its mode: workers to their parent's, a notebook to LMC_NUMERICS or else native.
    """
    choose_mode("portable" if is_portable() else "native")
    import torch

    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1


def _not_portable() -> str | None:
    if sys.platform != "linux" or platform.machine().lower() != "x86_64":
        return f"{sys.platform} on {platform.machine()} was not tried"
    flags = Path("/proc/cpuinfo").read_text(errors="replace").split()
    return None if {"avx2", "fma"} <= set(flags) else "this CPU has no AVX2"
