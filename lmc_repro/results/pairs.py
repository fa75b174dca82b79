"""Measured pairs, judged from their curves; the cache of pairs and planes, so that a comparison can be resumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from lmc_repro.barriers.curve import SPLITS, Curve, SplitName
from lmc_repro.barriers.pair import judge_epoch
from lmc_repro.barriers.results import DIFFERENT, CellResult, PairResult, Plane
from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.common.files import sha256_bytes, write_json
from lmc_repro.config.base import canonical_json
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.own_code import short_name
from lmc_repro.config.path import PLAIN_PATH, PathConfig
from lmc_repro.config.plan import ends_at
from lmc_repro.config.study import Judgement
from lmc_repro.results.schema import MEASURED, Measured
from lmc_repro.training.run_folder import RunFolder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def mean_path(curves: Sequence[Curve]) -> Curve:
    """Return the mean of curves of one split, without losses: `wrong` and `n` are their sums."""
    wrong = tuple(map(sum, zip(*(curve.wrong for curve in curves), strict=True)))
    return Curve(wrong, sum(curve.n for curve in curves), (None,) * len(wrong))


@dataclass(frozen=True)
class _Mark:
    epoch: int | float
    curves: dict[SplitName, Curve]


@dataclass(frozen=True)
class _CachedPair(Measured):
    evaluations: tuple[_Mark, ...]


_CACHED = TypeAdapter(_CachedPair)
_PLANE = TypeAdapter(Plane)


def store_pair(folder: Path, key: str, result: PairResult) -> None:
    """Store measurements, not judgements: curves at every evaluation epoch and the endpoints' distance."""
    evaluations = tuple(_Mark(epoch.epoch, epoch.curves) for epoch in result.evaluations)
    measured = {name: getattr(result, name) for name in MEASURED}
    store_measured(folder, key, _CachedPair(**measured, evaluations=evaluations))


def store_measured(folder: Path, key: str, found: DataclassInstance) -> None:
    """Store a dataclass with its checksum; `lmc gc` reads its `fingerprints`."""
    # Through JSON first, so that the checksum equals that of the values read back.
    measured = json.loads(json.dumps(dataclasses.asdict(found)))
    write_json(folder / f"{key}.json", {"measured": measured, "sha256": _checksum(measured)})


def load_pair(
    folder: Path, key: str, config: Mapping[str, Any], statuses: Mapping[str, Mapping[str, Any]]
) -> PairResult | None:
    """Return a stored pair of a cell with this config, judged anew; None if there is none or its file is damaged."""
    if (cached := _load(folder, key, _CACHED)) is None:
        return None
    try:
        return judged_pair(cached, {epoch.epoch: epoch.curves for epoch in cached.evaluations}, config, statuses)
    except (ValueError, KeyError, TypeError):
        return None


def load_plane(folder: Path, key: str) -> Plane | None:
    """Return a stored plane; None if there is none or its file is damaged."""
    return _load(folder, key, _PLANE)


def _load(folder: Path, key: str, form: TypeAdapter[T]) -> T | None:
    try:
        stored = json.loads((folder / f"{key}.json").read_bytes())
        return form.validate_python(stored["measured"]) if stored["sha256"] == _checksum(stored["measured"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def judged_pair(
    measured: Measured,
    evaluations: Mapping[float, dict[SplitName, Curve]],
    config: Mapping[str, Any],
    statuses: Mapping[str, Mapping[str, Any]],
) -> PairResult:
    """Return a pair from its curves at each evaluation epoch and its other measurements; KeyError for missing ones.

    `config` is its cell's; `statuses` the status.json of its runs, by fingerprint.
    """
    first, second = measured.fingerprints
    diverged = (statuses[first]["diverged_epoch"], statuses[second]["diverged_epoch"])
    classes, largest_class = dataset_info(config["data"]["dataset"]).classes, measured.largest_class
    return PairResult(
        **{name: getattr(measured, name) for name in MEASURED},
        evaluations=tuple(
            judge_epoch(e, evaluations[e], diverged, classes, largest_class, measured.epochs)
            for e in sorted(evaluations)
        ),
    )


def judged_cell(
    config: Mapping[str, Any], judgement: Judgement, pairs: Sequence[PairResult], plane: Plane | None = None
) -> CellResult:
    """Return the result of a cell with this config from its pairs, with its plane if it has one."""
    judged = judge_cell(pairs, judgement, dataset_info(config["data"]["dataset"]).classes)
    return dataclasses.replace(judged, plane=plane)


def ends_problem(runs: Path, tag: str, result: PairResult, path: PathConfig = PLAIN_PATH) -> str | None:
    """Return one line if the error count of a path's end differs from its run's in `runs`, None if all agree.

    Equal on a CPU. On a GPU the ends were counted in another stack, and an aligned network adds in another order, so
    near-ties may fall differently: one in a thousand images is allowed. The second end of a partial path is no run's.
    `tag` is the numerics tag of the runs.
    """
    share = DIFFERENT if tag.startswith("cuda") else 0.0
    ends = result.fingerprints if path.layers is None else result.fingerprints[:1]
    for end, fingerprint in enumerate(ends):
        folder = RunFolder(runs / fingerprint)
        logged = {(row.epoch, row.split): row.wrong for row in folder.metrics()}
        for at_epoch in result.evaluations:
            epoch = ends_at(result.epochs, at_epoch.epoch)[end]
            for split, curve in at_epoch.curves.items():
                found = curve.wrong[-end]
                said, moved = logged.get((epoch, split)), end == 1 and path.align != "none"
                if said is None or abs(said - found) > (DIFFERENT if moved else share) * curve.n:
                    why = f"other bits than in training; delete {folder.path} and train again"
                    if moved:
                        why = f"align {short_name(path.align)} changed the network's function"
                    return (
                        f"{folder.path / 'metrics.csv'}: epoch {epoch:g} says {said} wrong on {split}, pair "
                        f"{result.pair} has {found}: {why}"
                    )
    return None


def runs_problem(runs: Path, tag: str, plane: Plane) -> str | None:
    """Return one line if a count of the three runs differs from their metrics.csv in `runs`; see `ends_problem`."""
    share = DIFFERENT if tag.startswith("cuda") else 0.0
    for i, fingerprint in enumerate(plane.fingerprints):
        folder = RunFolder(runs / fingerprint)
        last = {row.split: row for row in folder.metrics()}  # of the last epoch, in their order
        for split in SPLITS:
            found, n, row = plane.runs[split].wrong[i], plane.runs[split].n, last.get(split)
            if row is None or row.wrong is None or row.n != n or abs(row.wrong - found) > share * n:
                said = f"{row.wrong} wrong of {row.n}" if row else "nothing"
                return f"{folder.path / 'metrics.csv'}: says {said} on {split}, its plane has {found} of {n}"
    return None


def _checksum(measured: Any) -> str:
    return sha256_bytes(canonical_json(measured).encode())
