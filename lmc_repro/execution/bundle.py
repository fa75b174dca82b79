"""`python -m lmc_repro.execution.bundle`: a study on a machine that has torch, numpy, pydantic and safetensors only.

There, PLAN is what `lmc plan STUDY --out plan.json` wrote, and --data a copy of data/prepared. In a clone with
everything installed it may be a study of params.yaml. `lmc import FILE` brings the file that comes out into MLflow.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lmc_repro.errors import Interrupted, LmcError
from lmc_repro.execution.devices import resolve_device
from lmc_repro.interrupt import GO_ON, listen
from lmc_repro.numerics import choose_mode
from lmc_repro.progress import Lines
from lmc_repro.project import find_project
from lmc_repro.schemas.load import load_params
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.schemas.plan_file import plan_from_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    given = _parser().parse_args(arguments)
    listen()
    try:
        plan = read_plan(given)
        told = Lines()
        _, remark = choose_mode(plan.profile_config.numerics)  # before torch is imported
        if remark:
            told.line(remark)
        device = resolve_device(given.device or plan.profile_config.device)
        from lmc_repro.execution.local import default_jobs
        from lmc_repro.studies.bundle import bundle_study

        jobs = 1 if device == "cuda" else given.jobs or default_jobs()  # a GPU's memory is planned for one process
        work = given.work or given.out.with_name(given.out.name + ".work")
        print(bundle_study(plan, given.data.resolve(), work.resolve(), given.out, device, jobs, given.keep, told))
    except LmcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(GO_ON, file=sys.stderr)
        return interrupted.code
    return 0


def read_plan(given: argparse.Namespace) -> StudyPlan:
    """Return the plan of a file, or that of a study of params.yaml with the choices of the command line."""
    narrowed = {name: getattr(given, name) for name in ("profile", "row", "column", "pairs", "epochs")}
    path = Path(given.plan)
    if path.suffix == ".json" or path.is_file():
        if chosen := [f"--{name}" for name, value in narrowed.items() if value]:
            raise LmcError(f"{', '.join(chosen)}: {path} has its choices made; give them to `lmc plan`")
        try:
            return plan_from_json(json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError) as error:
            raise LmcError(f"{path}: cannot be read ({error}); write it with `lmc plan STUDY --out {path}`") from None
    try:
        import ruamel.yaml  # noqa: F401
    except ImportError:
        raise LmcError(
            f"{given.plan}: no such file, and a study of params.yaml needs ruamel.yaml, which this machine has not; "
            f"write a plan where it is: `lmc plan {given.plan} --out plan.json`"
        ) from None
    # Upwards, and so here: only a whole installation comes by.
    from lmc_repro.studies.expand import Choice, plan_study

    params = load_params(find_project().params)
    rows, columns = tuple(given.row or ()), tuple(given.column or ())
    return plan_study(params, given.plan, Choice(given.profile, rows, columns, given.pairs, epochs=given.epochs))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lmc_repro.execution.bundle",
        description="Train a study and measure its paths without MLflow, into one file for `lmc import`.",
    )
    parser.add_argument("plan", metavar="PLAN", help="a file of `lmc plan`, or a study of params.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle to write")
    parser.add_argument("--data", type=Path, default=Path("data/prepared"), help="default: data/prepared")
    parser.add_argument("--work", type=Path, help="where finished runs stay until the end; default: FILE.work")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="instead of the profile's")
    parser.add_argument("--jobs", type=int, help="processes of one thread each; one on a GPU")
    parser.add_argument(
        "--keep", choices=("all", "last", "none"), default="none", help="checkpoints in the file; default: none"
    )
    study = parser.add_argument_group("a study of params.yaml (a plan has these choices made)")
    study.add_argument("--profile", help="a profile instead of the active one")
    study.add_argument("--row", action="append", help="only this row; can be repeated")
    study.add_argument("--column", action="append", help="only this column; can be repeated")
    study.add_argument("--pairs", type=int, help="trainer seeds a cell")
    study.add_argument("--epochs", type=int, help="train so many epochs only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
