"""The commands of `lmc`, in the groups and the order in which --help lists them."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lmc_repro.cli import files, maintenance, paper, project, studies, verification, views

COMMANDS = {
    "Studies": (
        *(studies.run, views.list_, views.show, verification.verify, verification.reproduce),
        *(studies.check, studies.prepare, studies.train, studies.compare, views.exhibit, studies.link),
    ),
    "Your own networks": (files.barrier,),
    "Views": (views.ui, views.report, paper.export, paper.plot, views.reproduction, files.publish),
    "Project": (project.init, project.schema, maintenance.doctor, maintenance.gc),
}

EXAMPLES = {
    "run": "lmc run table1 --row 8-layer-bs1024 --pairs 3",
    "list": "lmc list table1",
    "show": "lmc show RUN_ID",
    "verify": "lmc verify table1 --quick",
    "reproduce": "lmc reproduce RUN_ID",
    "check": "lmc check",
    "prepare": "lmc prepare mnist",
    "train": "lmc train table1",
    "compare": "lmc compare RUN_A RUN_B --points 101",
    "exhibit": "lmc exhibit table3",
    "link": "lmc link",
    "barrier": "lmc barrier A.safetensors B.safetensors --model mlp:depth=2,width=128 --data digits",
    "ui": "lmc ui table1 --column adam-high",
    "report": "lmc report table1 table2",
    "reproduction": "lmc reproduction",
    "export": "lmc export table1 --latex",
    "plot": "lmc plot table1 --row 8-layer-bs1024 --out paths.pdf",
    "publish": "lmc publish table1",
    "init": "lmc init my_project",
    "schema": "lmc schema",
    "doctor": "lmc doctor",
    "gc": "lmc gc",
}
"""What --help of each command ends with."""


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
    epilog="Begin with `lmc run table1`: Table 1 on the embedded digits, in minutes. `lmc list` shows what has been "
    "run, `lmc ui table1` shows it in MLflow, `lmc COMMAND --help` has an example. With `lmc --install-completion` "
    "Tab completes commands, studies, rows and columns.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _group, _commands in COMMANDS.items():
    for _command in _commands:
        _name = _command.__name__.rstrip("_")
        app.command(
            _name, hidden=_command is studies.link, rich_help_panel=_group, epilog=f"Example: {EXAMPLES[_name]}"
        )(_command)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
