from __future__ import annotations

import pytest

from lmc_repro.cli.ui import links
from lmc_repro.tracking.shown import Shown


@pytest.mark.parametrize("pairs", [100, 101])
def test_it_says_when_the_view_does_not_begin_with_all_pairs(pairs: int) -> None:
    """MLflow's pages load 100 runs, draw those, and call them all that match."""
    shown = Shown("lmc/figure1/digits", "7", tuple(f"{i:032x}" for i in range(pairs)))
    printed = "\n".join(links("http://127.0.0.1:5000", [shown], None, None))
    assert printed.startswith(f"lmc/figure1/digits: {pairs} pairs\n")
    assert ("Load more" in printed) == (pairs > 100)
