"""Options that several commands share; Tab completes their words from params.yaml as it stands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from typer import Argument, Context, Option

from lmc_repro.common import bounds
from lmc_repro.common.project import find_project


def keys(*tables: str, of: str = "") -> Callable[[Context], list[str]]:
    """Return a completion: the keys of tables of params.yaml, or `of` the study that was typed its rows or columns."""

    def words(ctx: Context) -> list[str]:
        from ruamel.yaml import YAML

        with suppress(Exception):  # a shell that completes has no place for an error, nor time for a validation
            params = YAML(typ="safe").load(find_project().params)
            if of:  # after an option without its value the parser leaves the study among the rest
                return list(map(str, params["studies"][ctx.params.get("study") or ctx.args[0]][of]))
            return [str(key) for table in tables for key in params.get(table) or ()]
        return []

    return words


studies, profiles, rows, columns = keys("studies"), keys("profiles"), keys(of="rows"), keys(of="columns")

Study = Annotated[str, Argument(metavar="STUDY", autocompletion=studies, help="A study of params.yaml, e.g. table1.")]
Profile = Annotated[
    str | None,
    Option(
        metavar="PROFILE",
        autocompletion=profiles,
        help="A profile of params.yaml in place of the active one, e.g. paper.",
    ),
]
Row = Annotated[
    list[str] | None,
    Option(metavar="ROW", autocompletion=rows, help="Only this row, e.g. 2-layer-bs1024; can be repeated."),
]
Column = Annotated[
    list[str] | None,
    Option(metavar="COLUMN", autocompletion=columns, help="Only this column, e.g. adam-high; can be repeated."),
]
Pairs = Annotated[
    int | None, Option(metavar="N", min=1, max=bounds.RUNS, help="Trainer seeds per cell, each with one pair of runs.")
]
TrainerSeeds = Annotated[str | None, Option(metavar="0,1,7", help="The trainer seeds themselves, in place of --pairs.")]
Replicas = Annotated[
    int | None,
    Option(metavar="N", min=2, max=bounds.REPLICAS, help="Runs per trainer seed; r gives r(r-1)/2 dependent pairs."),
]
Epochs = Annotated[
    int | None, Option(metavar="N", min=1, max=bounds.EPOCHS, help="Epochs of training, not the profile's.")
]
Jobs = Annotated[
    int | None,
    Option(metavar="N", min=1, max=bounds.JOBS, help="Single-threaded worker processes; default: one per core."),
]
TrackingUri = Annotated[str | None, Option(metavar="URI", help="An MLflow store in place of MLFLOW_TRACKING_URI's.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON instead of text.")]
Set = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="A setting for every cell, e.g. model.width=64; can be repeated."),
]
Align = Annotated[
    str | None,
    Option(
        metavar="METHOD", help="weights, activations or FILE.py:NAME (code is run): moves theta_1, not its function."
    ),
]
