from __future__ import annotations

import json

import pytest

from lmc_repro.common.errors import LmcError
from lmc_repro.results.read import has_results, read_study


def test_numbers_come_back_with_the_right_split_and_cell(write_study) -> None:
    results = read_study(write_study("paper"))
    cell = next(cell for cell in results.cells if cell.key == "4-layer--adam-high")
    assert (cell.summary["test"].mean, cell.summary["train"].mean) == (3.0, 1.0)
    assert cell.paper == {"test": 47.74, "train": 48.91}
    assert cell.pairs[2].barriers["test"].barrier == 5.0
    assert cell.pairs[2].errors == {"train": (2.0, 2.0), "test": (5.0, 5.0)}
    assert results.curves["4-layer--adam-high", "2", 200, "test"].wrong == (50, 100, 50)
    assert results.curves["4-layer--adam-high", "2", 200, "train"].wrong == (40, 70, 40)
    pair = next(cell for cell in results.cells if cell.key == "8-layer--adam-high").pairs[0]
    assert pair.barriers == {"train": None, "test": None} and pair.errors["test"] == (90.0, 90.0)
    assert results.curves["8-layer--adam-high", "0", 200, "test"].loss == (None, None, None)


@pytest.mark.parametrize("name", ["runs.json", "cells.json", "curves.csv"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(write_study, name: str) -> None:
    folder = write_study()
    (folder / name).unlink()
    assert has_results(folder) and not has_results(folder.parent)  # a folder without results is no damage
    with pytest.raises(LmcError, match=rf"{name}: cannot be read .*; run `lmc compare table1`$"):
        read_study(folder)


def test_damage_inside_a_file_is_named_in_one_line(write_study) -> None:
    folder = write_study()
    cells = json.loads((folder / "cells.json").read_text())
    del cells[0]["test"]["verdict"]
    (folder / "cells.json").write_text(json.dumps(cells))
    with pytest.raises(LmcError, match=r"cells.json: 0.test.verdict: missing; run `lmc compare table1`$") as error:
        read_study(folder)
    assert "\n" not in str(error.value)


def test_a_lost_line_of_the_curves_is_found(write_study) -> None:
    folder = write_study()
    lines = (folder / "curves.csv").read_text().splitlines(keepends=True)
    (folder / "curves.csv").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(LmcError, match=r"curves.csv: .*run `lmc compare table1`$"):
        read_study(folder)
    (folder / "curves.csv").write_text("".join(lines[:1] + lines[4:]))
    with pytest.raises(LmcError, match=r"curves.csv: no train curve of cell 4-layer--sgd-high, pair 0, epoch 200"):
        read_study(folder)
