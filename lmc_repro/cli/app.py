"""The commands of `lmc`, in the order in which --help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from lmc_repro.cli import files, maintenance, paper, project, studies, verification, views

app = typer.Typer(
    name="lmc",
    help="Are two trained networks linearly connected? Reproduces arXiv 2312.09832, with MLflow and DVC.",
    epilog="A first look: `lmc run table1` trains and compares Table 1 on the embedded digits in minutes, `lmc ui "
    "table1` shows it in MLflow. `lmc COMMAND --help` says what a command reads and writes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_COMMANDS = (
    (
        project.init,
        studies.check,
        studies.prepare,
        studies.train,
        studies.compare,
        files.barrier,
        views.exhibit,
        studies.link,
    ),
    (views.show, views.list_, verification.reproduce, verification.verify, views.report, studies.run),
    (paper.export, paper.plot),
    (maintenance.doctor, maintenance.gc, files.publish, views.ui, views.reproduction, project.schema),
)
for _command in (command for group in _COMMANDS for command in group):
    app.command(_command.__name__.rstrip("_"), hidden=_command is studies.link)(_command)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
