"""Import of one library in a process of its own: `python -m lmc_repro.maintenance.probe torch` prints JSON.

A broken library may end its process, and torch reads the numerics mode when it is imported.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

SECONDS = 60.0


def start(*words: str) -> subprocess.Popen[str]:
    """Start the probe of a library and return its process, so that several run side by side."""
    # -P: the working folder may hold another copy of the package.
    command = [sys.executable, "-P", "-m", "lmc_repro.maintenance.probe", *words]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a probe and return its values, or `{"error": one line}`."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"error": f"not imported within {SECONDS:.0f} s"}
    try:
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found
    except (IndexError, ValueError):
        said = (err.strip().splitlines() or [f"its process ended with code {process.returncode}"])[-1]
        return {"error": said[:300]}


def _torch(wanted: str) -> dict[str, Any]:
    from lmc_repro.common.numerics import choose_mode, numerics_tag

    mode, remark = choose_mode("portable" if wanted == "portable" else "native")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = map(torch.cuda.get_device_properties, range(count))
    return {
        "version": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus],
        "cuda_build": torch.version.cuda,
        "mode": mode,
        "remark": remark,
        "tag": numerics_tag(),
    }


def _ffcv() -> dict[str, Any]:
    """Load the parts that break when ffcv does, its compiled library and imports; ffcv itself compiles for seconds."""
    spec = importlib.util.find_spec("ffcv")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'ffcv'")
    folder = Path(spec.submodule_search_locations[0])
    libraries = [path for path in folder.glob("_libffcv*") if path.suffix in (".so", ".pyd")]
    if not libraries:
        raise ImportError(f"{folder} holds no compiled _libffcv")
    ctypes.CDLL(str(libraries[0]))
    for name in ("numba", "cv2", "distutils"):  # distutils: of setuptools, since Python 3.12
        importlib.import_module(name)
    return {"version": metadata.version("ffcv"), "library": str(libraries[0])}


def main(words: list[str]) -> None:
    """Print the answer as the last line."""
    warnings.simplefilter("ignore")
    try:
        found = _torch(words[1]) if words[0] == "torch" else _ffcv()
    except Exception as error:  # any error of a broken installation is the answer
        found = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
