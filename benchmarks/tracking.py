"""Time of MLflow and checkpoints in a run at MNIST size: the minimal network, 200 epochs, 14 evaluations."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.networks import NETWORKS
from benchmarks.options import Options

SHORT = 2048
"""Images of the run whose files and MLflow calls are timed: neither depends on how many there are."""


def measure(options: Options) -> dict[str, Any]:
    """Return `tracking_share`, and under `tracking` the CPU seconds of which it is made.

    Files and MLflow are timed in a real run of 200 epochs of a few images, which has all of them. Epochs and
    evaluations are timed apart and counted for MNIST as a whole. MLflow's calls are the parent's, beside the training,
    and here come at every evaluation epoch, not every 20 s: the share is an upper bound.
    """
    given = {"quick": options.quick}
    around = take_turns({"run": [Task("benchmarks.tracking:run", given)]}, min(options.repeats, 3), 0)["run"]
    inside = take_turns({"epoch": [Task("benchmarks.tracking:epoch", given)]}, options.repeats)["epoch"]
    evaluation = take_turns({"evaluations": [Task("benchmarks.tracking:evaluation", given)]}, options.repeats)[
        "evaluations"
    ]
    parts = around["values"][0]
    epochs, evaluations = parts.pop("epochs"), parts.pop("evaluations")
    files = sum(seconds for name, seconds in parts.items() if name != "mlflow")
    whole = 1.0 if options.quick else 60_000 / NETWORKS["minimal"].samples
    network = epochs * whole * inside["cpu_seconds"]["median"] + evaluations * evaluation["cpu_seconds"]["median"]
    return {
        "tracking_share": (files + parts["mlflow"]) / (network + files + parts["mlflow"]),
        "tracking": {
            "epochs": epochs,
            "evaluations": evaluations,
            "images": NETWORKS["minimal"].samples,
            "epoch_cpu_seconds": inside["cpu_seconds"],
            "evaluation_cpu_seconds": evaluation["cpu_seconds"],
            "around_cpu_seconds": parts,
        },
    }


def epoch(quick: bool) -> Callable[[], None]:
    """Return an epoch of one run."""
    from benchmarks.loops import ours

    return ours("minimal", 50 if quick else 1024, 0, "resident", quick)


def evaluation(quick: bool) -> Callable[[], None]:
    """Return one evaluation on both splits."""
    import torch

    from benchmarks.data import mnist
    from benchmarks.ours import run_config
    from lmc_repro.models.registry import build_model
    from lmc_repro.training.evaluate import evaluate
    from lmc_repro.training.stack import Layout

    dataset = mnist(quick=quick)
    model = build_model(run_config("mnist", NETWORKS["minimal"].model, 1).model, dataset.info)
    layout = Layout(model)
    views = layout.views(layout.stack([model.init(torch.Generator().manual_seed(0))]))

    def work() -> None:
        for split in (dataset.train, dataset.test):
            evaluate(model, views, split, dataset.info)

    return work


def run(quick: bool) -> Callable[[], dict[str, float]]:
    """Return a run with all that is around it, each time in a fresh store; it returns the seconds of each part."""
    import torch

    from benchmarks.data import mnist
    from lmc_repro.common.numerics import numerics_tag
    from lmc_repro.common.project import Project
    from lmc_repro.config.expand import Choice, plan_study
    from lmc_repro.config.load import load_params
    from lmc_repro.data.dataset import data_digest
    from lmc_repro.tracking import Tracker
    from lmc_repro.training import trainer
    from lmc_repro.training.run_folder import RunFolder
    from lmc_repro.training.trainer import Event

    dataset = mnist(SHORT, SHORT, quick)
    digests = {"mnist": data_digest(dataset.train, dataset.test)}
    params = load_params(Path(__file__).parent.parent / "params.yaml")
    choice = Choice("paper", ("constant",), ("sgd-high",), pairs=1, width=512, epochs=2 if quick else None)
    plan = plan_study(params, "table2", choice)
    cell, tag = plan.cells[0], numerics_tag()
    config = cell.runs[0].model_copy(update={"evaluate_at": tuple(m for m in cell.runs[0].evaluate_at if m % 1 == 0)})

    def work() -> dict[str, float]:
        clock: dict[str, float] = {"mlflow": 0.0}
        with tempfile.TemporaryDirectory() as place:
            project = Project(Path(place))
            folder = RunFolder(project.working / "runs" / ("0" * 16))
            with timed(clock, "mlflow"):
                tracker = Tracker.open(project, plan, digests, tag)
            clock["mlflow_opened_once"] = clock["mlflow"]  # imports and an empty store: the command's, not the run's
            clock["mlflow"] = 0.0

            def tell(event: Event) -> None:
                with timed(clock, "mlflow"):
                    if event.kind == "done":
                        tracker.sync_train(cell, config, folder)
                    elif event.kind == "saved":
                        tracker.sync_live(cell, config, folder, every=0.0)

            files = ("write_checkpoint", "save_progress", "wait_for_disk", "order_sha256", "sha256_file", "write_json")
            with measured(clock, [*((trainer, name) for name in files), (RunFolder, "write_metrics")]):
                children = [trainer.StackedRun(config, folder)]
                trainer.train_stack(children, dataset, Path(place), "resident", tag, torch.device("cpu"), tell)
            tracker.close()
        del clock["mlflow_opened_once"]
        return {**clock, "epochs": config.epochs, "evaluations": len(config.evaluate_at)}

    return work


@contextmanager
def timed(clock: dict[str, float], name: str) -> Iterator[None]:
    """Add the CPU seconds of the block to clock[name]."""
    begun = time.process_time()
    try:
        yield
    finally:
        clock[name] = clock.get(name, 0.0) + time.process_time() - begun


@contextmanager
def measured(clock: dict[str, float], places: list[tuple[Any, str]]) -> Iterator[None]:
    """Time every call of these functions while the block runs, each under its name."""
    before = [getattr(owner, name) for owner, name in places]

    def wrap(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with timed(clock, name):
                return function(*arguments, **named)

        return call

    for (owner, name), function in zip(places, before, strict=True):
        setattr(owner, name, wrap(function, name))
    try:
        yield
    finally:
        for (owner, name), function in zip(places, before, strict=True):
            setattr(owner, name, function)
