"""Programs that `test_portable.py` runs in processes of their own, and compares.

python dispatch.py [PART ...]               # JSON, the last line: sha256 of what it makes of fixed inputs, by part
python dispatch.py calls native|bypass      # training of one network whose products are torch's own

With MKL_VERBOSE=1, BETWEEN stands between MKL's own lines of training and paths, and those of what follows.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lmc_repro.common.numerics import choose_mode, use_one_thread

choose_mode("native" if "native" in sys.argv else "portable")
import numpy as np  # noqa: E402
import torch  # noqa: E402
from known_answers import golden  # noqa: E402
from torch.nn import functional  # noqa: E402

from lmc_repro.common import openblas  # noqa: E402
from lmc_repro.config.run import AdamConfig, Seeds  # noqa: E402
from lmc_repro.models import products  # noqa: E402
from lmc_repro.training.optimizer import Adam  # noqa: E402
from lmc_repro.training.schedule import cosine  # noqa: E402

BETWEEN = "-- after training and paths --"
COUNTER = "vml_calls"
"""The counter of calls of MKL's vector functions, where a preloaded library has one."""


def training() -> dict[str, str]:
    """Weights and curves of every network under SGD and ADAM, and with clipping."""
    found = golden.measure(golden.kernels())
    os.write(1, f"{BETWEEN}\n".encode())
    return {f"{name} {part}": sha for name, parts in found.items() for part, sha in parts.items()}


def operations() -> dict[str, str]:
    """torch's operations that round and are no matrix product, at lengths with and without a rest of a vector."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for n in (10, 11, 200):
        x = torch.empty(2, 301, n).normal_(0.0, 4.0, generator=generator).requires_grad_()
        labels = torch.arange(602) % n
        losses = functional.cross_entropy(x.view(-1, n), labels, reduction="none")
        attention, normed = x.softmax(2), functional.layer_norm(x, (n,))
        leaky = functional.leaky_relu(x, 0.3)
        (gradient,) = torch.autograd.grad(losses.sum().div(301) + (attention * normed * leaky).sum(), x)
        found[f"draws {n}"] = _tensors(torch.empty(n).normal_(generator=generator), torch.rand(n, generator=generator))
        found[f"forward {n}"] = _tensors(losses, attention, normed, leaky)
        found[f"backward {n}"] = _tensors(gradient)
        x = x.detach()
        found[f"sums {n}"] = _tensors(*(y.sum(d) for y in (x, x.double()) for d in range(3)), losses.double().mean(0))
        found[f"lines {n}"] = _tensors(torch.lerp(x[0], x[1], 0.3), x[0] / x[1])
        a, b = x.double().flatten(1)
        found[f"apart {n}"] = _tensors(torch.linalg.vector_norm(a - b), functional.cosine_similarity(a, b, dim=0))
    return found


def schedules() -> dict[str, str]:
    """What Python's arithmetic and the C library give each step: rates and ADAM's corrections."""
    adam = Adam(AdamConfig(kind="adam", lr=1.0, beta1=0.9, beta2=0.999, eps=1e-8), torch.zeros(1, 1))
    rates, corrections = zip(*(adam.numbers(torch.ones(1, 1), step) for step in range(3000)), strict=True)
    factors = [cosine(step, 3000) for step in range(3000)]
    return {"cosine": _text(factors), "adam": _text([(float(a), b) for a, b in zip(rates, corrections, strict=True)])}


def data() -> dict[str, str]:
    """Prepared digits and an epoch of FFCV's batches, through its code for numba."""
    from lmc_repro.data.dataset import load_dataset
    from lmc_repro.data.loaders import open_loader
    from lmc_repro.data.prepare import prepare

    with tempfile.TemporaryDirectory() as root:
        prepared = Path(root, "prepared")
        prepare("digits", prepared, Path(root, "raw"), None)
        seeds = [Seeds(trainer=0, loader=loader) for loader in (0, 1)]
        loader = open_loader("ffcv", load_dataset(prepared, "digits"), prepared, seeds, 64, False, "philox")
        batches = _tensors(*(part for batch in loader.epoch(3) for part in batch))
        return {"batches": batches} | _files(prepared)


def figures() -> dict[str, str]:
    """Results, the report with its figures, the figure of a pair, and images of batches."""
    from small_results import make_cell, make_pair
    from small_study import DIGESTS, make_plan
    from whole_report import report_of

    from lmc_repro.exhibits import batches
    from lmc_repro.report.figures import path_figure
    from lmc_repro.report.write import write_report
    from lmc_repro.results.write import write_results

    plan = make_plan()
    with tempfile.TemporaryDirectory() as root:
        results, report = Path(root, "results"), Path(root, "report")
        cells = {cell.key: make_cell(cell) for cell in plan.cells}
        write_results(results / "one", plan, cells, [], DIGESTS, {}, "portable", "cpu")
        write_report(report_of(results / "one"), report)
        found = _files(results) | _files(report)
    words = np.random.Philox(0).random_raw(2 * 8 * 64) >> np.uint64(56)
    loaders = {"key": "batches", "loaders": [{"key": "a", "label": "a loader", "sha256": ["ab" * 32] * 2}]}
    drawn = path_figure(make_pair(plan.cells[0].pairs[0]), "a pair")
    drawn |= batches.draw(loaders, {"a": words.astype(np.uint8).reshape(2, 8, 1, 8, 8)}, "Batches.").files
    return found | {name: hashlib.sha256(content).hexdigest() for name, content in drawn.items()}


def controls() -> dict[str, str | int]:
    """What does differ by CPU: each shows that a switch works. Nothing here enters a result."""
    from numba.core.registry import cpu_target

    before, generator = _calls(), torch.Generator().manual_seed(0)
    x = torch.rand(64, 1000, generator=generator)
    return {
        "vml, before": before,
        "mkl": _tensors(x @ x.mT),
        "roots": _tensors(torch.sqrt(x)),
        "numpy": hashlib.sha256(np.exp(x.double().numpy()).tobytes()).hexdigest(),
        "numpy's openblas": hashlib.sha256(x.numpy() @ x.numpy().T).hexdigest(),
        "numba": str(cpu_target.target_context.codegen().magic_tuple()),
        "core": openblas.loaded_core(),
        "vml, after": _calls(),
    }


def _calls() -> int:
    loaded = ctypes.CDLL(None)
    return ctypes.c_int.in_dll(loaded, COUNTER).value if hasattr(loaded, COUNTER) else 0


def _text(values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


def _tensors(*tensors: torch.Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    return digest.hexdigest()


def _files(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


PARTS: Mapping[str, Callable[[], Mapping[str, str | int]]] = {
    part.__name__: part for part in (training, operations, schedules, data, figures, controls)
}


def calls() -> None:
    """Let MKL report the products of a network whose products it makes."""
    if "bypass" in sys.argv:  # as if attention had not been told of the one product
        products.product = torch.bmm
    golden.measure({"attention": golden.kernels()["attention sgd"]})


if __name__ == "__main__":
    use_one_thread()
    if "calls" in sys.argv:
        sys.exit(calls())
    print(json.dumps({name: PARTS[name]() for name in sys.argv[1:] or PARTS}))
