"""A pair kind of one's own: a run at each evaluation epoch, with itself at the next."""

from itertools import pairwise

from lmc_repro.config.plan import Pair


def chain(cell):
    """Every run along its own training: the barrier between one evaluation epoch and the next."""
    for j in cell.trainers:
        run = cell.run(trainer=j, loader=cell.replicas * j)
        for i, epochs in enumerate(pairwise(run.evaluate_at)):
            yield Pair(f"{j}-{i}", (run, run), epochs)
