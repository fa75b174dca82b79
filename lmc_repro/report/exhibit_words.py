"""What an exhibit shows in words and tables, and whether ours agrees with the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lmc_repro.data.catalog import CATALOG
from lmc_repro.report.agreement import PAPER_EPOCHS
from lmc_repro.report.sentences import NOT_COUNTED
from lmc_repro.report.words import NONE, NOT_RUN, points

FAILED = "*"
"""The paper's mark where it has no accuracy; ours where every run diverged. It prints accuracies near chance."""


@dataclass(frozen=True)
class Grid:
    """A table: the first column names its rows."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Words:
    """What an exhibit shows, one sentence on what came out and whether that is the paper's, and its tables."""

    outcome: str
    shows: str
    grids: tuple[Grid, ...]


def parameters_words(found: dict[str, Any]) -> Words:
    """Return the counts beside the paper's millions, and those of the profile's own networks."""
    networks = found["networks"]
    printed = [n for n in networks if n["paper_millions"] is not None]
    other = [n for n in printed if _millions(n["parameters"]) != points(n["paper_millions"])]
    data = found["dataset"]
    shows = f"Trainable parameters of 2-layer networks for {_shape(data)}, counted from configs as they are trained."
    outcome = f"Rounded as the paper prints them, {len(printed) - len(other)} of {len(printed)} are the paper's"
    if other:
        said = (f"{n['label']} ({_millions(n['parameters'])}, paper {points(n['paper_millions'])})" for n in other)
        outcome += f"; not {', '.join(said)}"
    rows = tuple(
        (n["label"], f"{n['parameters']:,}", _millions(n["parameters"]), points(n["paper_millions"])) for n in networks
    )
    grids = [Grid("Parameters", ("network", "parameters", "millions", "paper, millions"), rows)]
    if study := found["study"]:
        own = tuple((n["label"], n["dataset"]["title"], f"{n['parameters']:,}") for n in study["networks"])
        caption = f"Networks of {study['key']} under profile {found['profile']}"
        grids.append(Grid(caption, ("network", "data set", "parameters"), own))
    return Words(f"{outcome}.", shows, tuple(grids))


def batches_words(found: dict[str, Any]) -> Words:
    """Return the hashes of every loader's batches, and whether they are as the seeds say."""
    first, *others = found["loaders"]
    rows, wrong = [], []
    for loader in found["loaders"]:
        same = {name: loader[name] == first[name] for name in ("order_sha256", "sha256")}
        expected = _expected(loader, first)
        if loader is not first and same != expected:
            wrong.append(loader["label"])
        rows.append(
            (
                loader["label"],
                *("same" if same[name] else "other" for name in ("order_sha256", "sha256")),
                NONE if loader is first else "yes" if same == expected else "no",
                " ".join(sha[:12] for sha in loader["sha256"]),
            )
        )
    kinds = ", ".join(name if value is True else f"{name} {value}" for name, value in found["augment"].items() if value)
    shows = (
        f"The first {len(first['sha256'])} batches of {found['batch_size']} images of {found['dataset']['title']} "
        f"({kinds}), a loader a line. Equal seeds are to give equal batches; another augmentation seed the same "
        "images in the same order, changed otherwise; another loader seed another order."
    )
    outcome = f"Held to the first loader, {len(others) - len(wrong)} of {len(others)} others are as their seeds say"
    if wrong:
        outcome += f"; not {', '.join(wrong)}"
    agrees = NOT_COUNTED if found["analogue"] else f"This {'disagrees' if wrong else 'agrees'} with the paper."
    header = ("loader", "order", "images as seen", "as its seeds say", "sha256 of each batch as seen")
    return Words(f"{outcome}. {agrees}", shows, (Grid("Held to the first loader", header, tuple(rows)),))


def accuracies_words(found: dict[str, Any]) -> Words:
    """Return the table in the paper's arrangement, ours above the paper's, and how far apart they are."""
    places = {(place["row"], place["column"]): place for place in found["places"]}
    rows = []
    for row in found["rows"]:
        line = [places[row["key"], column["key"]] for column in found["columns"]]
        rows.append((row["label"], *(_ours(place) for place in line)))
        rows.append((f"paper, {_title(row['paper'])}", *(_printed(place["paper"]) for place in line)))
    shows = (
        f"Test accuracy in percent at the last epoch of {found['study']}'s networks: mean over all runs that did not "
        f"diverge, range, number of runs; {FAILED} where every run diverged, as we read the paper's mark."
    )
    if reasons := dict.fromkeys(place["not_run"] for place in found["places"] if place["not_run"]):
        shows += f" Not run: {'; '.join(reasons)}."
    header = ("test accuracy, %", *(column["label"] for column in found["columns"]))
    return Words(_agreement(found), shows, (Grid("Ours, and below it the paper's", header, tuple(rows)),))


WORDS: dict[str, Callable[[dict[str, Any]], Words]] = {
    "parameters": parameters_words,
    "batches": batches_words,
    "accuracies": accuracies_words,
}


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _shape(data: dict[str, Any]) -> str:
    return f"{data['title']}'s images ({' x '.join(map(str, data['shape']))}, {data['classes']} classes)"


def _title(name: str) -> str:
    return CATALOG[name].title if name in CATALOG else name


def _expected(loader: dict[str, Any], first: dict[str, Any]) -> dict[str, bool]:
    order = loader["loader"] == first["loader"]
    return {"order_sha256": order, "sha256": order and loader["augmentation"] == first["augmentation"]}


def _ours(place: dict[str, Any]) -> str:
    run = place["run"]
    if run is None:
        return NOT_RUN
    parts = []
    if run["mean"] is not None:
        parts.append(f"{points(run['mean'])} ({points(run['min'])}-{points(run['max'])}), n {len(run['values'])}")
    lost = [f"{run[why]} {why}" for why in ("diverged", "collapsed") if run[why]]
    if lost:
        parts.append(f"of {run['n_runs']} runs {' and '.join(lost)}")
    return f"{FAILED} {'; '.join(parts)}" if _failed(run) else "; ".join(parts)


def _failed(run: dict[str, Any]) -> bool:
    return bool(run["diverged"] == run["n_runs"])


def _printed(paper: float | None) -> str:
    return FAILED if paper is None else points(paper)


def _agreement(found: dict[str, Any]) -> str:
    """Return how ours compare with the paper's where data set and epochs are its own; never one percentage."""
    if found["analogue"]:
        return NOT_COUNTED
    names = {row["key"]: row["paper"] for row in found["rows"]}
    counted = [
        place
        for place in found["places"]
        if place["run"] and (place["run"]["dataset"], place["run"]["epochs"]) == (names[place["row"]], PAPER_EPOCHS)
    ]
    if not counted:
        return "No network has the paper's data set and epochs: no agreement is counted."
    marked = [place for place in counted if place["paper"] is None]
    printed = [place for place in counted if place["paper"] is not None]
    said = []
    if marked:
        places = f"{len(marked)} place{'' if len(marked) == 1 else 's'}"
        said.append(f"of {places} that the paper marks {FAILED} ours are {sum(map(_marked, marked))} {FAILED}")
    if printed:
        apart = [abs(p["run"]["mean"] - p["paper"]) for p in printed if not _marked(p) and p["run"]["mean"] is not None]
        text = f"of {len(printed)} printed accuracies ours are {sum(map(_marked, printed))} {FAILED}"
        if apart:
            near = sum(distance <= 1.0 for distance in apart)
            text += f", {near} within 1 point, the farthest {points(max(apart))} points away"
        said.append(text)
    return f"Agreement with the paper: {'; '.join(said)}."


def _marked(place: dict[str, Any]) -> bool:
    return _failed(place["run"])
