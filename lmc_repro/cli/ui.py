"""`lmc ui`: MLflow's user interface on this machine, with the addresses that lead to the paths."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lmc_repro.errors import Interrupted
from lmc_repro.project import find_project

if TYPE_CHECKING:
    from lmc_repro.tracking.views import Shown

SIDE_BY_SIDE = 12
"""Pairs on the pages of the metric and of the comparison: more are neither legible nor an address of sane length."""

AT_ONCE = 100
"""Runs that MLflow's pages load at a time, whatever their number says."""


def ui_command(study: str | None, row: str | None, column: str | None, port: int) -> None:
    """Start the server, print the links, and wait for Ctrl-C; of a store behind a server only the links are printed."""
    from lmc_repro.cli.runs import present_of
    from lmc_repro.tracking.server import HOST, free_port, mlflow_server
    from lmc_repro.tracking.views import find_shown

    project = find_project()
    uri, shown = find_shown(project, study, row, column, present_of(project))
    if uri.startswith(("http://", "https://")):
        print("\n".join(links(uri.rstrip("/"), shown, row, column)))
        return
    taken = port
    if (port := free_port(taken)) != taken:
        print(f"port {taken} is taken; using {port}", file=sys.stderr)
    print("starting mlflow server ...", file=sys.stderr, flush=True)
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # a closed terminal ends the server, too
    with mlflow_server(uri, project.root, port, project.working / "ui.log") as server:
        try:
            print("\n".join(links(f"http://{HOST}:{port}", shown, row, column)))
            print("Ctrl-C ends the server", flush=True)
            code = server.wait()
        except Interrupted:
            print("server ended", file=sys.stderr)
            return
    print(f"the server ended by itself with code {code}; see {project.working / 'ui.log'}", file=sys.stderr)


def links(base: str, shown: list[Shown], row: str | None, column: str | None) -> Iterator[str]:
    """Yield the lines that are printed."""
    from lmc_repro.tracking.ui import PAIRS, compare_link, metric_link, pairs_link, table_link, view_link
    from lmc_repro.tracking.views import narrowed

    for experiment in shown:
        key, pairs = experiment.experiment_id, experiment.pairs
        narrow = " ".join(filter(None, (row, column)))
        yield f"{experiment.name}: {len(pairs)} pairs" + (f" of {narrow}" if narrow else "")
        for why, count in experiment.strangers.items():
            yield f"  {count} more pairs are not among them: {why}"
        if not pairs:
            yield "  none compared yet: `lmc compare` or `lmc run` makes them"
        yield f"  view: all paths over alpha, barriers below\n    {view_link(base, key)}"
        if len(pairs) > AT_ONCE:
            yield f"    (the {AT_ONCE} largest barriers at first: `Load more` ends MLflow's list and brings the others)"
        yield f"  the pairs by filter and order alone\n    {pairs_link(base, key, narrowed(PAIRS, row, column))}"
        yield f"  table: trainings and pairs below their cells\n    {table_link(base, key, narrowed('', row, column))}"
        if len(pairs) > AT_ONCE // 4 and not narrow:  # and as many cells and trainings as there are of a pair
            yield f"    ({AT_ONCE} runs at first: `Load more` below them brings all; --row, --column: fewer)"
        if best := pairs[:SIDE_BY_SIDE]:
            which = f"the {len(best)} largest barriers" if len(best) < len(pairs) else f"{len(best)} pairs"
            yield f"  test error by step (1000 alpha), {which}\n    {metric_link(base, key, best)}"
            yield f"  side by side, {which}\n    {compare_link(base, key, best)}"
