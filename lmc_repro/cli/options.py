"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from lmc_repro.cli import completion as complete
from lmc_repro.common import bounds

Study = Annotated[
    str, typer.Argument(metavar="STUDY", autocompletion=complete.studies, help="A study of params.yaml, e.g. table1.")
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="PROFILE",
        autocompletion=complete.profiles,
        help="A profile of params.yaml in place of the active one, e.g. paper.",
    ),
]
Row = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROW", autocompletion=complete.rows, help="Only this row, e.g. 2-layer-bs1024; can be repeated."
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", autocompletion=complete.columns, help="Only this column, e.g. adam-high; can be repeated."
    ),
]
Pairs = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=bounds.RUNS, help="Trainer seeds per cell, each with one pair of runs."),
]
TrainerSeeds = Annotated[
    str | None, typer.Option(metavar="0,1,7", help="The trainer seeds themselves, in place of --pairs.")
]
Replicas = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=2, max=bounds.REPLICAS, help="Runs per trainer seed; r gives r(r-1)/2 dependent pairs."
    ),
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=bounds.EPOCHS, help="Epochs of training, not the profile's.")
]
Dataset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only the cells on this data set; a study that has none is moved to it."),
]
Width = Annotated[int | None, typer.Option(metavar="N", min=1, max=bounds.SIZE, help="Units of every hidden layer.")]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=bounds.JOBS, help="Single-threaded worker processes; default: one per core."),
]
EngineName = Annotated[
    str | None,
    typer.Option("--engine", metavar="ENGINE", help="local, or ray: a cluster's machines train (LMC_ENGINE)."),
]
Address = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The Ray cluster's address (LMC_RAY_ADDRESS).")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Use a Ray cluster that asks for no token (LMC_RAY_INSECURE=1).")
]
Wait = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=bounds.MINUTES,
        help="Minutes to wait for machines when none is left (LMC_RAY_WAIT; 30).",
    ),
]
Device = Annotated[str | None, typer.Option(metavar="DEVICE", help="auto, cpu or cuda in place of the profile's.")]
TrackingUri = Annotated[
    str | None, typer.Option(metavar="URI", help="An MLflow store in place of MLFLOW_TRACKING_URI's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting for every cell, e.g. model.width=64; can be repeated."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print runs, pairs, FLOPs, time, memory, disk; do nothing.")]
Align = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="weights, activations or FILE.py:NAME (code is run): moves theta_1, not its function.",
    ),
]
