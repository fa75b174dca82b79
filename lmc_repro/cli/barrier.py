"""`lmc barrier A.safetensors B.safetensors`: the line between two weight files, for people or as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmc_repro.cli.begin import prepare_dataset
from lmc_repro.cli.progress import Parts, listener
from lmc_repro.data.catalog import CATALOG
from lmc_repro.errors import LmcError
from lmc_repro.files import sha256_file
from lmc_repro.progress import Listener
from lmc_repro.project import Project, find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.study import Judgement
from lmc_repro.studies.workspace import begin_process, prepared_dir, resolve_device

if TYPE_CHECKING:
    from lmc_repro.barriers.curve import SplitName
    from lmc_repro.data.custom_dataset import Samples

THRESHOLD = 2.0
"""Points of error (Frankle et al. 2020), where no project says otherwise."""


@dataclass(frozen=True)
class Asked:
    """The options of `lmc barrier`."""

    model: str
    data: str
    points: int
    split: str
    batch_size: int | None
    min_train_accuracy: float | None
    device: str
    as_json: bool
    plot: Path | None


def barrier_command(first: Path, second: Path, asked: Asked) -> None:
    """Measure the path between two weight files, print it, and draw it if a file is named for that."""
    if asked.split not in ("train", "test", "both"):
        raise LmcError(f"--split: found {asked.split!r}, allowed: train, test, both")
    told, judgement = listener(), Judgement(threshold=THRESHOLD)
    if (project := _project()) is not None:
        params = load_params(project.params)
        judgement = params.profiles[params.profile].judgement
        begin_process(params, params.profile, told)
    from lmc_repro.api.network import OwnModule, read_network
    from lmc_repro.api.paths import Picture, require_picture
    from lmc_repro.api.two_files import measure_files
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.report.path_text import split_records

    if asked.plot is not None:
        require_picture(asked.plot)
    network = read_network(asked.model)
    samples = _samples(asked.data, told)
    split: SplitName | None = {"train": "train", "test": "test"}.get(asked.split)  # type: ignore[assignment]
    device = resolve_device(asked.device)
    if asked.min_train_accuracy is not None:
        judgement = judgement.model_copy(update={"min_train_accuracy": asked.min_train_accuracy})
    mark = measure_files((first, second), network, samples, asked.points, split, asked.batch_size, device)
    shown = [split] if split else list(SPLITS)
    named = {"name": network.name} if isinstance(network, OwnModule) else network.model_dump(mode="json")
    files = zip((first, second), mark.status, strict=True)
    record: dict[str, Any] = {
        "files": [{"file": str(file), "sha256": sha256_file(file), "status": status} for file, status in files],
        "model": named,
        "data": {"name": samples.name, "digest": samples.digest, "classes": samples.classes},
        "points": asked.points,
        "threshold": judgement.threshold,
        **split_records(mark, judgement, samples.classes, shown),
    }
    if asked.plot is not None:
        from lmc_repro.compare.figure import curves_figure

        title = f"{first.name} and {second.name} on {samples.name}"
        note = "" if mark.barriers else f"no barrier: endpoints {' and '.join(mark.status)}"
        curves = {name: mark.curves[name] for name in shown}
        Picture(**curves_figure(curves, mark.barriers, f"{title}\n{note}")).save(asked.plot)
        print(f"plot: {asked.plot}", file=sys.stderr)
    if asked.as_json:
        print(json.dumps(record, indent=2, allow_nan=False))
    else:
        print("\n".join(_lines(record)))


def _lines(record: dict[str, Any]) -> list[str]:
    from lmc_repro.barriers.curve import SPLITS
    from lmc_repro.report.path_text import path_lines, point_lines

    first, second = record["files"]
    splits: dict[str, Any] = {split: record[split] for split in SPLITS if split in record}
    lines = [f"theta_{i}: {end['file']}, {end['status']}" for i, end in enumerate((first, second))]
    if first["sha256"] == second["sha256"]:
        lines.append("the two files are one and the same: the line between them is a point")
    return [
        *lines,
        *point_lines(splits),
        f"{record['points']} points on {record['data']['name']}, in percentage points:",
        *path_lines(splits, record["threshold"]),
    ]


def _samples(name: str, told: Listener) -> Samples:
    """Return the data that `--data` names, a data set of the catalog prepared if need be."""
    from lmc_repro.api.runs import load_dataset
    from lmc_repro.data.custom_dataset import of_dataset, read_unlisted

    info = CATALOG.get(name)
    if info is not None and info.embedded:
        return of_dataset(load_dataset(name))
    if info is not None:
        project = find_project()
        prepared = prepared_dir(project, [name])
        if prepared != project.prepared:
            prepare_dataset(project, load_params(project.params), name, prepared, told)
        return of_dataset(load_dataset(name, prepared))
    place = Path(name)
    if not place.exists():
        allowed = f"one of {', '.join(sorted(CATALOG))}, an .npz, or a folder of images"
        raise LmcError(f"--data: found {name!r}, allowed: {allowed}")
    parts = Parts(told)
    try:
        return read_unlisted(place, parts.on_progress)
    finally:
        parts.end()


def _project() -> Project | None:
    """Return the project around the working folder, if there is one: weight files need none."""
    try:
        return find_project()
    except LmcError:
        return None
