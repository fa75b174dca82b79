"""The commands of `lmc`, in the groups and the order in which --help lists them."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lmc_repro.cli import files, maintenance, studies, verification, views

COMMANDS = {
    "Studies": (
        *(studies.run, views.list_, views.show, verification.verify, verification.reproduce),
        *(studies.check, studies.prepare, studies.train, studies.compare, views.exhibit, studies.link),
    ),
    "Your own networks": (files.barrier,),
    "Views": (views.ui, views.report, views.reproduction, files.publish),
    "Project": (maintenance.doctor, maintenance.gc),
}


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
        app.command(_command.__name__.rstrip("_"), hidden=_command is studies.link, rich_help_panel=_group)(_command)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
