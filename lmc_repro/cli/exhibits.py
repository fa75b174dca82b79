"""What `lmc exhibit` does: makes one exhibit and prints it."""

from __future__ import annotations

from lmc_repro.exhibits.check import check_exhibits
from lmc_repro.project import find_project
from lmc_repro.schemas.load import load_params


def exhibit_command(key: str, as_json: bool = False) -> None:
    """Make one exhibit of the active profile below results/ and print it; as JSON: what its exhibit.json holds."""
    project = find_project()
    params = load_params(project.params)
    check_exhibits(params)
    from rich.console import Console

    from lmc_repro.exhibits.make import EXHIBIT, make_exhibit
    from lmc_repro.report.exhibits import print_exhibit

    folder = make_exhibit(key, params, project)
    if as_json:
        print((folder / EXHIBIT).read_text(), end="")
        return
    print_exhibit(folder, Console())
    print(f"exhibit: {folder}")
