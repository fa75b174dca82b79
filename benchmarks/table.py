"""The results as a Markdown table, targets beside them."""

from __future__ import annotations

from typing import Any

from benchmarks.networks import NETWORKS


def markdown(found: dict[str, Any]) -> str:
    """Return the page benchmarks/latest.md."""
    lines = ["# Benchmarks", "", _about(found), ""]
    networks = [name for name in NETWORKS if name in found]
    if networks:
        lines += [
            "An epoch of two runs, native numerics, no evaluation; seconds as median (least to most). Targets of",
            "the minimal network: at least 9 times DataLoader, 1.5 times FFCV, 75 % of sgemm on both cores.",
            "",
            "| network | images | DataLoader | FFCV | ours | ours, streamed "
            "| DataLoader / ours | FFCV / ours | of sgemm | MB, ours | n |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_network(name, found[name]) for name in networks]
        at_once = "; ".join(_at_once(name, found[name]) for name in networks)
        lines += ["", f"Two baselines at once, no target, seconds: {at_once}.", ""]
    rows = [row for row in (_single(found, *line) for line in SINGLE) if row]
    for name, lines_of in (("stored_runs", STORED), ("stored_runs_postgresql", SHARED)):
        for key, what, target in lines_of if name in found else ():
            stored = found[name]
            one = stored[key]
            rows.append(f"| {what.format(**stored)} | {show(one['seconds'])} s, {one['peak_mb']:.0f} MB |{target} |")
    if rows:
        lines += ["| what | measured | target |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


PUBLISHED = "{runs} runs in {seconds:.1f} s, {cpu_seconds:.1f} s of CPU of the command"

SINGLE = (
    ("curve_ratio", "a curve of 11 alphas, of eleven plain evaluations", "{:.2f}", "at most 0.30"),
    ("stack_ratio", "32 digits runs (2 layers) one by one, of stacked", "{:.1f}", "at least 4"),
    (
        "bf16",
        "training in float32, of the same in bf16 ({unit}): minimal, 8 layers of 1024, CNN",
        "{minimal:.2f}, {mlp8x1024:.2f}, {cnn:.2f}",
        "at least 2.5",
    ),
    ("tracking_share", "MLflow and checkpoints, of a run at MNIST size", "{:.1%}", "at most 2 %"),
    ("matching_seconds", "weight matching of two 784-512-512-512-10, CPU", "{} s", "at most 0.4 s"),
    ("matching_distance", "their distance, of untrained networks", "{before:.2f} to {after:.2f}", "at most 30.33"),
    ("matching_rebasin_seconds", "the same by rebasin from PyPI, CPU", "{} s", ""),
    ("matching_rebasin_distance", "their distance by rebasin", "{before:.2f} to {after:.2f}", ""),
    ("matching_resnet_seconds", "weight matching of two ResNet-20, CPU", "{} s", "at most 5 s"),
    ("matching_activations_seconds", "activation matching of the MLPs on 10,000 images, CPU", "{} s", "at most 5 s"),
    ("aligned_ratio", "comparison of an aligned pair on digits, of a plain one", "{:.2f}", "at most 1.5"),
    ("ray_mnist_ratio", "two MNIST runs on a Ray cluster, of this machine's processes", "{:.2f}", "at most 1.05"),
    ("ray_digits_ratio", "two digits stacks of 16 on a Ray cluster, of the same", "{:.2f}", "at most 1.25"),
    ("ray_tasks_per_second", "empty tasks per second on a Ray cluster", "{}", "at least 300"),
    ("ray_mb_per_second", "results home from a Ray cluster, MB per second", "{}", "at least 90"),
    ("ray_letters_per_second", "letters home from a Ray cluster, per second", "{}", ""),
    ("publish", "`lmc publish table1` into sqlite", PUBLISHED, "at most 8 s"),
    (
        "publish_server",
        "`lmc publish table1` on PostgreSQL and S3",
        f"{PUBLISHED}, {{requests_per_run:.1f}} requests per run",
        "at most 25 s, 6 requests",
    ),
    ("help_seconds", "`lmc --help`", "{} s", "at most 0.5 s"),
    ("noop_repro_seconds", "`dvc repro` with nothing to do", "{} s", "at most 10 s"),
)


STORED = (
    ("list", "`lmc list` of a study in a store of {runs} runs", " at most 5 s, 1 GB"),
    ("again", "`lmc run` of one finished cell in that store", ""),
    ("index", "all runs of that store, loaded as commands on a whole study do", " at most 5 s, 1 GB"),
)
SHARED = (("list", "`lmc list` of a study in a server of {runs} runs on PostgreSQL", " at most 5 s, 1 GB"),)


def _about(found: dict[str, Any]) -> str:
    m = found["machine"]
    data = "MNIST" if found.get("data") == "mnist" else "random images of MNIST's shape"
    return (
        f"{m['cores']} cores of {m['cpu']} ({m['instructions']}), {m['memory_gib']} GiB, {m['system']}, Python "
        f"{m['python']}, torch {found['torch']}; {data}"
        f"{'; a smoke run, its numbers mean nothing' if found.get('quick') else ''}."
    )


def _network(name: str, row: dict[str, Any]) -> str:
    seconds = row["seconds"]
    loader = min((seconds["dataloader"], seconds["dataloader_no_workers"]), key=lambda s: float(s["median"]))
    loops = (loader, *(seconds[key] for key in ("ffcv", "ours", "ours_streamed")))
    cells = [name, str(row["samples"]), *map(show, loops)]
    cells += [f"{row['ratio_dataloader']:.1f}", f"{row['ratio_ffcv']:.2f}", f"{row['sgemm_share']:.0%}"]
    cells += [f"{row['peak_mb']:.0f}", str(seconds["ours"]["n"])]
    return f"| {' | '.join(cells)} |"


def _at_once(name: str, row: dict[str, Any]) -> str:
    both = (row["seconds"][f"{loop}_two_at_once"] for loop in ("dataloader", "ffcv"))
    return f"{name}: DataLoader {{}}, FFCV {{}}".format(*map(show, both))


def _single(found: dict[str, Any], key: str, what: str, form: str, target: str) -> str | None:
    if found.get(key) is None:
        return None
    value = found[key]
    if isinstance(value, dict):
        shown = form.format(show(value)) if "median" in value else form.format(**value)
    else:
        shown = form.format(value)
    return f"| {what.format(**value) if isinstance(value, dict) else what} | {shown} | {target} |"


def show(seconds: dict[str, Any]) -> str:
    """Return `median (least to most)`, in three digits."""
    return f"{seconds['median']:.3g} ({seconds['min']:.3g} to {seconds['max']:.3g})"
