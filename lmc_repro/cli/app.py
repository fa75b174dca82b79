"""The commands of `lmc`, in the order in which --help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from lmc_repro.cli.typed import looks, proofs, stages, studies

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

app.command()(stages.check)
app.command()(stages.prepare)
app.command()(stages.train)
app.command()(stages.compare)
app.command()(studies.barrier)
app.command()(stages.exhibit)
app.command(hidden=True)(stages.link)
app.command()(looks.show)
app.command("list")(looks.list_)
app.command()(proofs.reproduce)
app.command()(proofs.verify)
app.command()(stages.report)
app.command()(studies.run)
app.command()(looks.doctor)
app.command()(proofs.gc)
app.command()(studies.publish)
app.command()(looks.ui)
app.command()(looks.reproduction)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from lmc_repro import __version__

        typer.echo(__version__)
        raise typer.Exit()
