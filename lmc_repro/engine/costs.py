"""Costs of runs, counted before they begin: FLOPs, seconds of one core, bytes in memory and on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from lmc_repro.common.numerics import use_one_thread
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.config.plan import StudyPlan
from lmc_repro.config.run import RunConfig
from lmc_repro.models.base import count_parameters
from lmc_repro.models.products import matmul
from lmc_repro.models.registry import build_model
from lmc_repro.training.evaluate import BATCH
from lmc_repro.training.optimizer import build_optimizer

# Measured on one core of a 2025 server CPU; they only order stacks and warn of long runs.
EFFICIENCY = 0.6  # of sgemm
SECONDS_PER_LAYER_STEP = 0.15e-3  # Python and small kernels
SECONDS_PER_VALUE = 4e-9  # gather, convert and normalise one input value
SECONDS_PER_ACTIVATION = 1.5e-9  # all but matrix products: read and write one number of `activations`


PROCESS_BYTES = 400 * 2**20  # a worker with torch and no data, rounded up
SHARE = 0.8  # of the free memory: the count leaves out what libraries keep for themselves


@dataclass(frozen=True)
class Estimate:
    """The cost of a set of runs. `seconds` are of one core; `disk_bytes` of their checkpoints, once."""

    runs: int
    flops: float
    seconds: float
    disk_bytes: int


def run_flops(config: RunConfig, info: DatasetInfo) -> float:
    """Return the FLOPs of training one run: 6 x weights x samples x epochs, 4 x for the first layer."""
    first, others = build_model(config.model, info).forward_flops()
    return float(info.n_train) * config.epochs * (2 * first + 3 * others)


def step_overhead(config: RunConfig, info: DatasetInfo) -> float:
    """Return the seconds of a run's steps that do not grow with its arithmetic; the runs of a stack share them."""
    steps = -(-info.n_train // config.batch_size) * config.epochs
    return steps * len(build_model(config.model, info).shapes) * SECONDS_PER_LAYER_STEP


def run_cost(config: RunConfig, info: DatasetInfo, gflops: float = 100.0) -> float:
    """Return the seconds that one core of `gflops` (single precision, matrix products) takes for one run."""
    model = build_model(config.model, info)
    samples = float(info.n_train) * config.epochs
    return (
        run_flops(config, info) / (gflops * 1e9 * EFFICIENCY)
        + step_overhead(config, info)
        + samples * (info.features * SECONDS_PER_VALUE + model.activations() * SECONDS_PER_ACTIVATION)
    )


def checkpoint_bytes(config: RunConfig) -> int:
    """Return the bytes of a run's checkpoints, one per evaluation epoch."""
    model = build_model(config.model, dataset_info(config.data.dataset))
    return 4 * count_parameters(model) * len(config.evaluate_at)


def estimate(configs: Sequence[RunConfig], gflops: float) -> Estimate:
    """Return the cost of training `configs` from the start."""
    flops = seconds = 0.0
    disk = 0
    for config in configs:
        info = dataset_info(config.data.dataset)
        flops += run_flops(config, info)
        seconds += run_cost(config, info, gflops)
        disk += checkpoint_bytes(config)
    return Estimate(len(configs), flops, seconds, disk)


def path_cost(config: RunConfig, info: DatasetInfo, points: int, gflops: float = 100.0) -> tuple[float, float]:
    """Return FLOPs and seconds of one core per pair and evaluation epoch: `points` networks on all images.

    The first layer is computed twice, whatever the number of points.
    """
    model = build_model(config.model, info)
    first, others = model.forward_flops()
    images = float(info.n_train + info.n_test)
    flops = images * (2 * first + points * others)
    seconds = flops / (gflops * 1e9 * EFFICIENCY) + images * points * model.activations() * SECONDS_PER_ACTIVATION
    return flops, seconds


def comparison_cost(plan: StudyPlan, gflops: float) -> tuple[int, float, float]:
    """Return the number of pairs of a study, and their paths' cost at all epochs; equal networks at 0 are free.

    A plane costs a path for each row of its grid.
    """
    pairs, flops, seconds = 0, 0.0, 0.0
    for cell in plan.cells:
        config = cell.runs[0]
        first = cell.pairs[0]
        measured = sum(epoch > 0 or len({run.seeds.trainer for run in first.runs}) > 1 for epoch in first.evaluations)
        cost = path_cost(config, dataset_info(config.data.dataset), plan.profile_config.points, gflops)
        pairs += len(cell.pairs)
        flops += len(cell.pairs) * measured * cost[0]
        seconds += len(cell.pairs) * measured * cost[1]
        if cell.plane:
            cost = path_cost(config, dataset_info(config.data.dataset), cell.plane.points, gflops)
            flops += cell.plane.points * cost[0]
            seconds += cell.plane.points * cost[1]
    return pairs, flops, seconds


def measure_gflops(size: int = 1024, seconds: float = 0.2) -> float:
    """Measure briefly and return the rate of one core's float32 matrix product."""
    use_one_thread()
    a = torch.ones(1, size, size)
    matmul(a, a)  # the first product loads the library
    begun, products = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        matmul(a, a)
        products += 1
    return 2.0 * size**3 * products / (time.perf_counter() - begun) / 1e9


def run_bytes(config: RunConfig, info: DatasetInfo) -> int:
    """Return the bytes that one run of a stack holds: weights, gradients, optimizer state, one batch's activations."""
    model = build_model(config.model, info)
    state = len(build_optimizer(config.optimizer, torch.empty(1, 1)).state)
    batch = max(min(config.batch_size, info.n_train), BATCH)
    return 4 * (count_parameters(model) * (4 + state) + batch * (info.features + model.activations()))


def stack_bytes(config: RunConfig, info: DatasetInfo, runs: int) -> int:
    """Return the bytes of a stack of `runs` runs and of the data set, images as bytes and labels of 8."""
    return (info.n_train + info.n_test) * (info.features + 8) + runs * run_bytes(config, info)


def processes_that_fit(stacks: Sequence[int], jobs: int) -> int:
    """Return how many of `jobs` processes may run at once, so that the largest stacks (bytes) fit into free memory."""
    largest = sorted(stacks, reverse=True)[: max(1, jobs)]
    free = SHARE * psutil.virtual_memory().available
    while len(largest) > 1 and sum(largest) + len(largest) * PROCESS_BYTES > free:
        largest.pop()
    return max(1, len(largest))
