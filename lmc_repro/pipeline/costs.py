"""What the cells of a study would cost: for those that were not run."""

from __future__ import annotations

from lmc_repro.config.plan import StudyPlan
from lmc_repro.engine.costs import estimate
from lmc_repro.models.registry import network
from lmc_repro.report.contents import GFLOPS, Planned


def planned_cells(plan: StudyPlan) -> tuple[Planned, ...]:
    """Return every cell of the plan with the FLOPs and core hours of its runs from the start."""
    planned = []
    for cell in plan.cells:
        cost = estimate(cell.runs, GFLOPS)
        label = f"{cell.row_label}, {cell.column_label}"
        planned.append(
            Planned(
                row=cell.row,
                column=cell.column,
                label=label,
                paper=cell.paper,
                model=network(cell.config["model"]),
                runs=cost.runs,
                flops=cost.flops,
                hours=cost.seconds / 3600,
            )
        )
    return tuple(planned)
