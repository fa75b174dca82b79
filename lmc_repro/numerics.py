"""The numerics mode of this process: AVX2 on every CPU that has it (portable), or this CPU's fastest (native).

The vendor of the CPU is part of the identity in both: MKL takes other branches on an AMD CPU than on an Intel one,
whatever it is told (seen: on AMD every MKL_CBWR but COMPATIBLE gives the same bits).

The libraries read these variables before their first product and never again, so the mode is set before torch is
imported, belongs to the whole process, and is inherited by its workers.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Literal

Mode = Literal["portable", "native"]

PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# Without it MKL may choose kernels by where a matrix lies in memory: a small network has other bits in another stack.
NATIVE = {"MKL_CBWR": "AUTO"}
_CHOSEN = "LMC_NUMERICS"

# Raised when code that is faster gives other bits in native mode alone (TRAINING_NUMERICS: in both).
NATIVE_NUMERICS = 2


def choose_mode(wanted: Mode) -> tuple[Mode, str | None]:
    """Set the process's mode and return it, with one line of explanation where portable cannot be had."""
    remark = None
    if wanted == "portable" and (reason := _not_portable()):
        wanted, remark = "native", f"numerics: native, for {reason}; bits are this machine's own"
    if wanted == "portable":
        if "torch" in sys.modules and not is_portable():
            raise RuntimeError("the numerics mode must be chosen before torch is imported")
        os.environ.update(PORTABLE)
    else:
        for name, value in NATIVE.items():
            os.environ.setdefault(name, value)
    os.environ[_CHOSEN] = wanted
    return wanted, remark


def numerics_tag(device: str = "cpu") -> str:
    """Return what of this process decides bits, for fingerprints.

    portable:GenuineIntel, native:AuthenticAMD:AVX2:2, cuda:<name>. On a GPU a run's bits may depend on the size of its
    stack too, which no plan knows beforehand: it is recorded in status.json, and is in no fingerprint.
    """
    if device.startswith("cuda"):
        import torch

        return f"cuda:{torch.cuda.get_device_name()}"
    if is_portable():
        return f"portable:{cpu_vendor()}"
    import torch

    return f"native:{cpu_vendor()}:{torch.backends.cpu.get_cpu_capability()}:{NATIVE_NUMERICS}"


def is_portable() -> bool:
    """Return whether this process's numerics are portable."""
    return os.environ.get(_CHOSEN) == "portable"


def cpu_vendor() -> str:
    """Return the CPU's vendor as the CPU itself says, e.g. GenuineIntel or AuthenticAMD; its architecture on others."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(found, platform.machine().lower())


def torch_version() -> str:
    """Return torch's version without the build suffix, and without importing it."""
    return version("torch").split("+")[0]


def use_one_thread() -> None:
    """Make torch use one thread in this process; with two, a stack of one has other bits than a larger stack.

    Where nobody has chosen a mode, in a notebook, it is native from here on; that has to be the first product.
    """
    import torch

    if _CHOSEN not in os.environ:
        choose_mode("native")

    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1


def _not_portable() -> str | None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"{platform.machine()} has no AVX2"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and " avx2" not in cpuinfo.read_text(errors="replace"):
        return "this CPU has no AVX2"
    return None
