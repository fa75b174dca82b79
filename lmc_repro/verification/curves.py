"""Paths measured again from the weights that MLflow holds, against curves.csv: counts equal, losses equal bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lmc_repro.barriers.results import PairResult
from lmc_repro.compare.pair import EVALUATION_NUMERICS, PairTask
from lmc_repro.compare.work import measure_pair
from lmc_repro.errors import LmcError
from lmc_repro.execution.pool import map_tasks
from lmc_repro.numerics import torch_version
from lmc_repro.schemas.base import mark_text
from lmc_repro.schemas.run import RunConfig
from lmc_repro.studies.workspace import Listener
from lmc_repro.verification.results import Results
from lmc_repro.verification.store import StoredStudy
from lmc_repro.verification.tally import Tally


def why_other_bits(results: Results, numerics: str) -> str | None:
    """Return why paths measured here may have other bits than the recorded ones; None if they must be the same."""
    runs = results.runs
    told = [
        f"{name} {recorded}, here {here}"
        for name, recorded, here in (
            ("numerics", runs["numerics"], numerics),
            ("torch", runs["torch"], torch_version()),
            ("EVALUATION_NUMERICS", runs["evaluation_numerics"], EVALUATION_NUMERICS),
        )
        if recorded != here
    ]
    return f"they were made with {' and '.join(told)}" if told else None


def check_curves(stored: StoredStudy, prepared: Path, jobs: int, tally: Tally, listener: Listener) -> None:
    """Measure every pair at every mark again. A pair with weights that cannot be read was told of before."""
    results = stored.results
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []

    def tasks() -> Iterator[PairTask]:
        for cell, pair in results.pairs():
            try:
                task = _task(stored, cell, pair, prepared)
            except LmcError as error:
                tally.add("curves again", f"cell {cell['cell']}, pair {pair['pair']}: not measured again: {error}")
                listener.advance(1)
                continue
            pairs.append((cell, pair))
            yield task

    total = sum(1 for _ in results.pairs())
    listener.begin(f"measuring {total} paths again", total)
    try:
        for i, made in enumerate(map_tasks(measure_pair, tasks(), jobs)):
            cell, pair = pairs[i]
            for mark in results.marks(cell["cell"], pair["pair"]):
                tally.add("curves again", _problem(results, cell, pair, mark, made))
            tally.add("distances again", _distance_problem(results, cell, pair, made))
            listener.advance(1, cell["cell"])
    finally:
        listener.end()


def _task(stored: StoredStudy, cell: Mapping[str, Any], pair: Mapping[str, Any], prepared: Path) -> PairTask:
    runs = [stored.train(cell["cell"], fingerprint) for fingerprint in pair["fingerprints"]]
    ends = [stored.tracked(run) for run in runs if run is not None]
    if len(ends) != 2:
        raise LmcError("a training is not in MLflow")
    a, b = ends
    # A cell's config has no seeds; a path needs none.
    config = RunConfig.model_validate({**cell["config"], "seeds": _seeds(cell["config"], pair)})
    marks = stored.results.marks(cell["cell"], pair["pair"])
    weights = {mark: (stored.reader.checkpoint(a, mark), stored.reader.checkpoint(b, mark)) for mark in marks}
    return PairTask(
        pair=pair["pair"],
        trainer_seed=pair["trainer_seed"],
        fingerprints=(a.fingerprint, b.fingerprint),
        diverged=(a.status["diverged_epoch"], b.status["diverged_epoch"]),
        weights=weights,
        model=config.model,
        data=config.data,
        prepared=prepared,
        points=int(stored.results.runs["points"]),
    )


def _seeds(config: Mapping[str, Any], pair: Mapping[str, Any]) -> dict[str, Any]:
    augmentation = None if config["data"]["augment"] is None else 0
    return {"trainer": pair["trainer_seed"], "loader": 0, "augmentation": augmentation}


def _problem(
    results: Results, cell: Mapping[str, Any], pair: Mapping[str, Any], epoch: float, made: PairResult
) -> str | None:
    mark = next(mark for mark in made.marks if mark.epoch == epoch)
    for split, curve in mark.curves.items():
        recorded = results.curves[cell["cell"], pair["pair"], epoch, split]
        if curve == recorded:
            continue
        for part in ("wrong", "loss"):
            for alpha, here, there in zip(curve.alphas, getattr(curve, part), getattr(recorded, part), strict=True):
                if here != there:
                    place = f"cell {cell['cell']}, pair {pair['pair']}, epoch {mark_text(epoch)}, {split}"
                    told = f"{part} at alpha {alpha:g} is {there}, MLflow's weights give {here}"
                    return f"{results.place.results / 'curves.csv'}: {place}: {told}; {results.place.fix}"
        told = f"{split} has n {recorded.n}, here {curve.n}"
        return f"{results.place.results / 'curves.csv'}: {told}; {results.place.fix}"
    return None


def _distance_problem(
    results: Results, cell: Mapping[str, Any], pair: Mapping[str, Any], made: PairResult
) -> str | None:
    for key in ("largest_class", "distance", "cosine", "disagreement"):
        if pair[key] != getattr(made, key):
            place = f"{results.place.results / 'cells.json'}: cell {cell['cell']}, pair {pair['pair']}"
            return f"{place}: {key} {pair[key]}, MLflow's weights give {getattr(made, key)}; {results.place.fix}"
    return None
