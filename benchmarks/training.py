"""Two runs of each network: a user's loop, FFCV and a module, ours, and the limit, alternating."""

from __future__ import annotations

from typing import Any

from benchmarks.crew import Task, take_turns
from benchmarks.networks import NETWORKS
from benchmarks.options import Options, cores

CHILDREN = 2


def measure(name: str, options: Options) -> dict[str, Any]:
    """Return ratios (a baseline's seconds over ours), the share of sgemm, and all seconds of `name` of NETWORKS."""
    network = NETWORKS[name]
    repeats = min(options.repeats, network.repeats or options.repeats)
    batch = 50 if options.quick else 1024
    given = {"network": name, "batch": batch, "quick": options.quick}
    together = {"children": CHILDREN, "workers": cores()}
    alone = {"children": 1, "workers": 1}
    loops = "benchmarks.loops:"
    size, count = (64, 2) if options.quick else (2048, 8)
    crews = {
        # A script trains its runs one after another, with all cores that its libraries take.
        "dataloader": [Task(f"{loops}dataloader", {**given, **together}, cores())],
        "dataloader_no_workers": [Task(f"{loops}dataloader", {**given, **together, "workers": 0}, cores())],
        "ffcv": [Task(f"{loops}ffcv", {**given, **together}, cores())],
        # No target: two such scripts at once, one thread each.
        "dataloader_two_at_once": [Task(f"{loops}dataloader", {**given, **alone, "workers": 0})] * CHILDREN,
        "ffcv_two_at_once": [Task(f"{loops}ffcv", {**given, **alone})] * CHILDREN,
        "ours": [Task(f"{loops}ours", {**given, "child": i, "loader": "resident"}) for i in range(CHILDREN)],
        "ours_streamed": [Task(f"{loops}ours", {**given, "child": i, "loader": "ffcv"}) for i in range(CHILDREN)],
        "sgemm": [Task("benchmarks.limit:products", {"size": size, "count": count}) for _ in range(cores())],
    }
    found = take_turns(crews, repeats)
    seconds = {key: found[key]["seconds"] for key in crews}
    ours = seconds["ours"]["median"]
    limit = sum(found["sgemm"]["values"]) / seconds["sgemm"]["median"]
    rate = CHILDREN * epoch_flops(name, options.quick) / ours
    return {
        # Of the two ways to use a DataLoader, the faster one.
        "ratio_dataloader": min(seconds[key]["median"] for key in ("dataloader", "dataloader_no_workers")) / ours,
        "ratio_ffcv": seconds["ffcv"]["median"] / ours,
        "sgemm_share": rate / limit,
        "peak_mb": found["ours"]["peak_mb"],
        "peak_mb_ffcv": found["ffcv"]["peak_mb"],
        "gflops": rate / 1e9,
        "sgemm_gflops": limit / 1e9,
        "samples": NETWORKS[name].samples,
        "seconds": seconds,
        "cpu_seconds": {key: found[key]["cpu_seconds"] for key in crews},
    }


def epoch_flops(name: str, quick: bool = False) -> float:
    """Return the FLOPs of one run's epoch: 6 per weight and sample, 4 in the first layer."""
    from benchmarks.data import QUICK
    from benchmarks.ours import run_config
    from lmc_repro.config.catalog import dataset_info
    from lmc_repro.models.registry import build_model

    config = run_config("mnist", NETWORKS[name].model, 1)
    first, others = build_model(config.model, dataset_info("mnist")).forward_flops()
    return float(QUICK if quick else NETWORKS[name].samples) * (2 * first + 3 * others)
