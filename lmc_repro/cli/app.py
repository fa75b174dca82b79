"""The commands of `lmc`, in the groups and the order in which --help lists them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from lmc_repro.cli import files, project, reports, studies, views

COMMANDS: dict[str, dict[Callable[..., None], str]] = {
    "Studies": {
        studies.run: "run table1 --row 8-layer-bs1024 --pairs 3",
        views.list_: "list table1",
        views.show: "show RUN_ID",
        studies.verify: "verify table1 --quick",
        studies.reproduce: "reproduce RUN_ID",
        studies.check: "check",
        studies.prepare: "prepare mnist",
        studies.train: "train table1",
        studies.compare: "compare RUN_A RUN_B --points 101",
        reports.exhibit: "exhibit table3",
        studies.link: "link",
    },
    "Your own networks": {
        files.barrier: "barrier A.safetensors B.safetensors --model mlp:depth=2,width=128 --data digits"
    },
    "Views": {
        views.ui: "ui table1 --column adam-high",
        reports.report: "report table1 table2",
        reports.export: "export table1 --latex",
        reports.plot: "plot table1 --row 8-layer-bs1024 --out paths.pdf",
        reports.reproduction: "reproduction",
        files.publish: "publish table1",
    },
    "Project": {
        project.init: "init my_project",
        project.schema: "schema",
        project.doctor: "doctor --fix-store",
        project.gc: "gc",
    },
}
"""Each command, with the example that ends its --help."""


class _Plain(TyperCommand):
    """Lists arguments by their names, without the types of Python."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for param in self.params:
            if isinstance(param, TyperArgument):
                vars(param)["display_type_rich"] = lambda ctx: ""


class _Grouped(TyperGroup):
    """Lists commands under the headings of `COMMANDS`, in plain text."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [command for command in self.commands.values() if not command.hidden]
        width = formatter.width - 6 - max(len(str(command.name)) for command in shown)
        for group, members in groupby(shown, key=lambda command: str(getattr(command, "rich_help_panel", ""))):
            with formatter.section(group):
                formatter.write_dl([(str(command.name), command.get_short_help_str(width)) for command in members])


app = typer.Typer(
    name="lmc",
    cls=_Grouped,
    help="Are two trained networks linearly connected? Reproduces arXiv 2312.09832, with MLflow and DVC.",
    epilog="Begin with `lmc init my_project`, or in a clone with `lmc run table1`: Table 1 on the embedded digits, in "
    "minutes. `lmc list` shows what has been run, `lmc ui` shows it in MLflow, `lmc COMMAND --help` has an example. "
    "With `lmc --install-completion` Tab completes commands, studies, rows and columns.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _group, _commands in COMMANDS.items():
    for _command, _example in _commands.items():
        app.command(
            _command.__name__.rstrip("_"),
            cls=_Plain,
            hidden=_command is studies.link,
            rich_help_panel=_group,
            epilog=f"Example: lmc {_example}",
        )(_command)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
