"""The commands of `lmc`, in the order in which --help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from lmc_repro.cli import files, maintenance, studies, verification, views

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

app.command()(studies.check)
app.command()(studies.prepare)
app.command()(studies.train)
app.command()(studies.compare)
app.command()(files.barrier)
app.command()(views.exhibit)
app.command(hidden=True)(studies.link)
app.command()(views.show)
app.command("list")(views.list_)
app.command()(verification.reproduce)
app.command()(verification.verify)
app.command()(views.report)
app.command()(studies.run)
app.command()(maintenance.doctor)
app.command()(maintenance.gc)
app.command()(files.publish)
app.command()(views.ui)
app.command()(views.reproduction)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
