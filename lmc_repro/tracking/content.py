"""The content of runs: metric points, parameters, tags, tables and notes, from results and files alone.

Errors and barriers in percentage points, losses in nats.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

from lmc_repro.barriers.barrier import excess
from lmc_repro.barriers.curve import SPLITS, SplitName
from lmc_repro.common.files import json_bytes, sha256_bytes
from lmc_repro.config.base import canonical_json, epoch_text
from lmc_repro.config.path import plane_given
from lmc_repro.config.plan import COMMON, ends_at
from lmc_repro.config.reported import of_paper
from lmc_repro.results.pairs import mean_path
from lmc_repro.tracking import names

if TYPE_CHECKING:
    from lmc_repro.barriers.results import CellResult, EpochResult, PairResult, Plane
    from lmc_repro.config.plan import Cell, StudyPlan
    from lmc_repro.config.run import RunConfig
    from lmc_repro.config.study import ProfileConfig
    from lmc_repro.training.run_folder import MetricRow

METRICS = ("train/error", "train/loss", "test/error", "test/loss", "train/batch_loss")
DISTANCE = "weights/distance_from_init"
TAG_LIMIT = 8000  # characters; MLflow cuts a longer tag and only warns
TABLE = "path.json"
PERMUTATIONS = "permutations.json"
OVER_TRAINING = "over_training.json"
SUFFIXES = {
    "barrier": "",
    "normalised": "_norm_pct",
    "normalised_own": "_norm_own_pct",
    "normalised_chance": "_norm_chance_pct",
    "midpoint_excess": "_mid_signed",
    "loss_barrier": "_loss",
    "loss_midpoint_excess": "_loss_mid_signed",
}
"""Ends of metric names that are not `_` and the field's name."""

_SHA256 = ("init_sha256", "order_sha256", "augmentation_sha256", "final_sha256")
_TOLD = ("diverged_epoch", *_SHA256, "training_numerics", "numerics")


@dataclass(frozen=True)
class Point:
    """One value of a metric; `step` is a whole epoch, or 1000 alpha on a path."""

    name: str
    value: float
    step: int = 0


def finite(points: Iterable[tuple[str, float | None, float]]) -> list[Point]:
    """Return the points whose value is a finite number: MLflow would keep infinity as another number.

    Points at fractional evaluation epochs are left out: steps are whole, and a rounded one would be another epoch.
    """
    return [
        Point(name, value, int(step))
        for name, value, step in points
        if value is not None and math.isfinite(value) and step == int(step)
    ]


def text(value: Any) -> str:
    """Return a parameter's value as text: strings as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def training_points(rows: Sequence[MetricRow]) -> list[Point]:
    """Return the points of metrics.csv: errors in percentage points, losses in nats, step = epoch (whole)."""
    values: list[tuple[str, float | None, float]] = []
    for row in rows:
        values.append((f"{row.split}/error", None if row.wrong is None else row.wrong * (100.0 / row.n), row.epoch))
        values.append(("train/batch_loss" if row.split == "batch" else f"{row.split}/loss", row.loss, row.epoch))
    return finite(values)


def training_tags(status: dict[str, Any] | None) -> dict[str, str]:
    """Return the tags of a complete training."""
    if status is None:
        return {}
    tags = {f"lmc.{name}": status.get(name) for name in _TOLD}
    tags |= {names.TORCH: status["torch"], "lmc.stack": " ".join(map(str, status.get("stack", ()))) or None}
    if "kept" in status:
        tags[names.WEIGHTS] = names.LAST_KEPT if status["kept"] else names.NOT_KEPT
    return {name: str(value) for name, value in tags.items() if value is not None}


def pair_points(result: PairResult) -> Iterator[Point]:
    """Yield every number logged of a pair: its path, barriers at all whole evaluation epochs, distances."""
    final = result.final
    for split in SPLITS[::-1]:  # MLflow's pages have them in this order: the test barrier first
        barriers = vars(final.barriers[split]) if final.barriers else {}
        named = {SUFFIXES.get(field, f"_{field}"): value for field, value in barriers.items()}
        yield from finite((f"barrier/{split}{suffix}", value, 0) for suffix, value in named.items())
        over_training = [(m.epoch, m.barriers[split].barrier) for m in result.evaluations if m.barriers is not None]
        yield from finite((f"barrier_over_training/{split}", barrier, epoch) for epoch, barrier in over_training)
        yield from finite([(f"pair/disagreement_{split}", 100.0 * result.disagreement[split], 0)])
    yield from finite([("pair/distance", result.distance, 0), ("pair/cosine", result.cosine, 0)])
    for split in SPLITS:
        yield from _path(final, split)
    yield from _alphas(final)


def _alphas(epoch: EpochResult) -> list[Point]:
    return finite(("path/alpha", alpha, round(1000 * alpha)) for alpha in epoch.curves["test"].alphas)


def _path(epoch: EpochResult, split: SplitName) -> Iterator[Point]:
    curve = epoch.curves[split]
    points = 100.0 / curve.n
    columns: dict[str, Iterable[float | None]] = {
        "error": (wrong * points for wrong in curve.wrong),
        "excess": (over * points for over in excess(curve.wrong)),
        "loss": curve.loss,
        **curve.columns,
    }
    for name, values in columns.items():
        path = zip(curve.alphas, values, strict=True)
        yield from finite((f"path/{split}_{name}", value, round(1000 * alpha)) for alpha, value in path)


def pair_tags(result: PairResult) -> dict[str, str]:
    """Return a pair's ends."""
    tags = {"lmc.pair": result.pair}
    for i, (fingerprint, status) in enumerate(zip(result.fingerprints, result.final.status, strict=True)):
        tags[f"lmc.fingerprint_{i}"] = fingerprint
        tags[f"lmc.status_{i}"] = status
    return tags


def pair_note(result: PairResult) -> str:
    """Return a pair's description: its barriers, and run, epoch and status of each end."""
    final = result.final
    lines = [] if final.barriers else ["- no barrier: an end diverged or collapsed"]
    for split, b in (final.barriers or {}).items():
        numbers = f"line {number(b.line)}, normalised {number(b.normalised)} %"
        lines.append(f"- {split}: barrier **{number(b.barrier)}** at alpha {b.argmax_alpha:g}, {numbers}")
    ends = zip(result.fingerprints, map(epoch_text, ends_at(result.epochs, final.epoch)), final.status, strict=True)
    lines += [f"- theta_{i}: run {run}, epoch {epoch}, {status}" for i, (run, epoch, status) in enumerate(ends)]
    return "\n".join(lines)


def training_note(config: RunConfig, rows: Sequence[MetricRow], status: Mapping[str, Any]) -> str:
    """Return a training's description: its seeds, its errors at the last epoch, and its fingerprint."""
    seeds = ", ".join(f"{k} {v}" for k, v in config.seeds.model_dump(exclude={"early"}).items() if v is not None)
    last = {row.split: row.error for row in rows if row.epoch == config.epochs}
    errors = ", ".join(f"{s} error {number(100 * e)} %" for s in SPLITS[::-1] if (e := last.get(s)) is not None)
    diverged = status.get("diverged_epoch")
    end = f"diverged by epoch {diverged}" if diverged is not None else f"epoch {config.epochs}: {errors}"
    return f"- seeds: {seeds}\n- {end}\n- fingerprint {status['fingerprint']}"


def run_params(plan: StudyPlan, cell: Cell, config: RunConfig | None = None) -> dict[str, Any]:
    """Return the parameters of every run: filters of the UI do not look at parents. Seeds only with `config`."""
    flat = (config or cell.runs[0]).flat()
    where = {"study": plan.study, "profile": plan.profile, "cell": cell.key, "row": cell.row, "column": cell.column}
    shared = {name: value for name, value in flat.items() if config or not name.startswith("seeds.")}
    return {**where, "pair_kind": cell.pair_kind, **shared}


def pair_params(cell: Cell, result: PairResult) -> dict[str, Any]:
    """Return the seeds of both runs: `seeds.loader: 0 1`, one number where they are equal; the ends' own epochs."""
    runs = next(pair.runs for pair in cell.pairs if pair.name == result.pair)
    first, second = ({k: v for k, v in run.flat().items() if k.startswith("seeds.")} for run in runs)
    both = {k: (first.get(k), second.get(k)) for k in {**first, **second}}
    seeds = {k: a if a == b else f"{a} {b}" for k, (a, b) in both.items()}
    own = {} if result.epochs == COMMON else {names.PAIR_EPOCHS: list(result.epochs)}
    return {"pair": result.pair, **own, **seeds, **path_params(cell)}


def pair_tables(result: PairResult) -> dict[str, bytes]:
    """Return the path, permutations of an aligned one, and all barriers where a fractional epoch has no step."""
    tables = {TABLE: path_table(result.final)}
    if result.permutations is not None:
        tables[PERMUTATIONS] = json_bytes(result.permutations)
    if any(epoch.epoch != int(epoch.epoch) for epoch in result.evaluations):
        rows = [
            [epoch.epoch, *(epoch.barriers[split].barrier if epoch.barriers else None for split in SPLITS)]
            for epoch in result.evaluations
        ]
        columns = ["epoch", *(f"{split}_barrier" for split in SPLITS)]
        tables[OVER_TRAINING] = json.dumps({"columns": columns, "data": rows}, allow_nan=False).encode()
    return tables


def path_table(epoch: EpochResult) -> bytes:
    """Return the path as one of MLflow's tables: alpha, then wrong, n, error (points), loss and metrics per split."""
    metrics = tuple(epoch.curves["test"].columns)
    columns = ["alpha"] + [f"{split}_{name}" for split in SPLITS for name in ("wrong", "n", "error", "loss", *metrics)]
    rows: list[list[float | None]] = [[alpha] for alpha in epoch.curves["test"].alphas]
    for curve in (epoch.curves[split] for split in SPLITS):
        for i, row in enumerate(rows):
            row += [curve.wrong[i], curve.n, curve.wrong[i] * (100.0 / curve.n), curve.loss[i]]
            row += [curve.columns[name][i] for name in metrics]
    return json.dumps({"columns": columns, "data": rows}, allow_nan=False).encode()


def cell_points(result: CellResult, paper: Mapping[str, float] | None) -> Iterator[Point]:
    """Yield every number logged of a cell: the means over its pairs by a pair's names, their spread, the paper's."""
    for split in SPLITS[::-1]:
        summary = result.summary[split]
        means = {"": summary.mean, "_line": summary.line_mean, "_norm_pct": summary.normalised_mean}
        spread = {f"_{name}": getattr(summary, name) for name in ("median", "min", "max", "sd")}
        values = {**means, **spread, "_n": len(summary.values)}
        yield from finite((f"barrier/{split}{end}", value, 0) for end, value in values.items())
        yield from finite([(f"paper/{split}", (paper or {}).get(split), 0)])
        yield from finite((f"barrier_over_training/{split}", late.mean, late.epoch) for late in summary.late)
    if result.pairs:
        for split in SPLITS:
            curve = mean_path([pair.final.curves[split] for pair in result.pairs])
            path = zip(curve.alphas, curve.errors, strict=True)
            yield from finite((f"path/{split}_error", 100.0 * error, round(1000 * alpha)) for alpha, error in path)
        yield from _alphas(result.pairs[0].final)
    if result.plane:
        yield from _plane(result.plane)


def _plane(plane: Plane) -> Iterator[Point]:
    """Yield the extreme errors on a plane, and the distances of its runs, which it shows true to scale."""
    for split in SPLITS[::-1]:
        wrong = [count for row in plane.rows[split] for count in row.wrong]
        ends = {"lowest": min(wrong), "highest": max(wrong)}
        shares = ((f"plane/{split}_{name}", 100.0 * count / plane.runs[split].n, 0) for name, count in ends.items())
        yield from finite(shares)
    pairs = combinations(enumerate(plane.corners, 1), 2)
    yield from finite((f"plane/distance_{i}_{j}", math.dist(a, b), 0) for (i, a), (j, b) in pairs)


def cell_tags(plan: StudyPlan, cell: Cell, result: CellResult) -> dict[str, str]:
    """Return a cell's verdicts, flags and provenance."""
    tags = {"lmc.provenance": provenance_tag(plan.profile_config, cell)}
    for split in SPLITS:
        summary = result.summary[split]
        tags[f"lmc.verdict.{split}"] = summary.verdict or "none"
        tags[f"lmc.verdict_strict.{split}"] = summary.verdict_strict or "none"
        tags[f"lmc.flags.{split}"] = " ".join(summary.flags) or "none"
    return tags


def cell_params(cell: Cell) -> dict[str, Any]:
    """Return the paper's numbers of a cell, the settings of its paths where they are not plain, its plane's grid."""
    paper = {f"paper.{split}": points for split, points in (cell.paper or {}).items()}
    return paper | path_params(cell) | {f"plane.{name}": value for name, value in plane_given(cell.plane).items()}


def path_params(cell: Cell) -> dict[str, Any]:
    """Return the settings of a cell's paths: `path.align` and so on."""
    return {f"path.{name}": value for name, value in cell.path.given().items()}


def provenance_tag(profile: ProfileConfig, cell: Cell) -> str:
    """Return JSON {hyper-parameter: "source: remark"} of a cell's; without remarks if that is too long."""
    sources = {leaf: profile.source(leaf) for leaf in _leaves(profile, cell)}
    tags = {leaf: source for leaf, source in sources.items() if source is not None}
    tag = json.dumps(tags, sort_keys=True)
    if len(tag) <= TAG_LIMIT:
        return tag
    short = json.dumps({leaf: source.partition(":")[0] for leaf, source in tags.items()}, sort_keys=True)
    return short if len(short) <= TAG_LIMIT else "{}"


def _leaves(profile: ProfileConfig, cell: Cell) -> list[str]:
    named = {key: o for key, o in profile.optimizers.items() if o.model_dump(mode="json") == cell.config["optimizer"]}
    return [
        *(f"settings.{name}" for name in profile.settings.given()),
        # A field that the profile leaves at its default has no source of its own.
        *(f"optimizers.{key}.{name}" for key, optimizer in named.items() for name in optimizer.model_fields_set),
        *(f"batches.{key}" for key, size in profile.batches.items() if size == cell.config["batch_size"]),
        "judgement.threshold",
        "judgement.min_train_accuracy",
    ]


def experiment_note(plan: StudyPlan) -> str:
    """Return the study's question and how to read its runs."""
    replaced = plan.profile_config.analogue and of_paper(plan.study, (cell.paper for cell in plan.cells))
    analogue = "\n\nAn analogue on other data, not a reproduction." if replaced else ""
    profile = ": ".join(dict.fromkeys((plan.profile, plan.profile_config.title)))
    return f"""**{plan.study_config.title}**, profile {profile}

{plan.study_config.question}{analogue}

A run of kind `cell` is one entry of the table; below it stand its trainings (`train`) and their pairs (`pair`).
Errors and barriers are in percentage points, losses in nats. `barrier/test` is the maximum of the error on the path \
minus the mean of its ends.

Filter by ``tags.`lmc.kind` = 'pair'`` and sort by a metric to lay the `path/` curves of all pairs over one another: \
their step is 1000 alpha, and `path/alpha` is there as an x axis.
"""


def cell_note(cell: Cell, result: CellResult) -> str:
    """Return a cell's summary, beside the paper's number where it prints one."""
    lines = [f"**{cell.row_label}, {cell.column_label}**: {len(result.pairs)} {cell.pair_kind} pairs, in points", ""]
    for split in SPLITS[::-1]:
        s = result.summary[split]
        verdict = ", ".join([s.verdict or "no verdict", *(flag.replace("_", " ") for flag in s.flags)])
        numbers = f"mean barrier **{number(s.mean)}**, line {number(s.line_mean)}, median {number(s.median)}"
        spread = f"{number(s.min)} to {number(s.max)}, n {len(s.values)}"
        paper = f"; the paper's {number(cell.paper[split])}" if cell.paper and split in cell.paper else ""
        lines.append(f"- {split}: {verdict}; {numbers}, {spread}{paper}")
    return "\n".join([*lines, ""])


def number(value: float | None) -> str:
    """Return a number of a note: two decimals, a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.2f}"


@cache
def versions() -> dict[str, str]:
    """Return the versions that produced a run."""
    from importlib.metadata import version

    from lmc_repro import __version__

    packages = {name: version(name) for name in ("torch", "mlflow", "numpy")}
    return {f"lmc.version.{name}": value for name, value in {**packages, "lmc_repro": __version__}.items()}


@cache
def git_commit(root: Path) -> dict[str, str]:
    """Return the commit that `root` stands at, `-dirty` if tracked files differ from it; nothing without git."""
    said = []
    for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            said.append(subprocess.check_output(["git", "-C", root, *command], stderr=DEVNULL, text=True, timeout=20))
        except (OSError, subprocess.SubprocessError):
            return {}
    commit = said[0].strip()
    return {"lmc.git_commit": commit + ("-dirty" if said[1] else ""), "mlflow.source.git.commit": commit}


def digest(points: Sequence[Point], tags: Mapping[str, str], more: Mapping[str, str]) -> str:
    """Return the sha256 (hex) of a run's content: equal content is not logged twice."""
    said = {"points": sorted((p.name, p.step, p.value) for p in points), "tags": tags, **more}
    return sha256_bytes(canonical_json(said).encode())
