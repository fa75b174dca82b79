from __future__ import annotations

import pytest

from lmc_repro.cli.views import links
from lmc_repro.tracking.views import Shown


@pytest.mark.parametrize(("pairs", "said"), [(25, 0), (26, 1), (100, 1), (101, 2)])
def test_it_says_when_a_page_does_not_begin_with_all_runs(pairs: int, said: int) -> None:
    """MLflow's pages load 100 runs, draw those, and call them all that match; cells and trainings are runs, too."""
    shown = Shown("lmc/figure1/digits", "7", tuple(f"{i:032x}" for i in range(pairs)))
    printed = "\n".join(links("http://127.0.0.1:5000", [shown], None, None))
    assert printed.startswith(f"lmc/figure1/digits: {pairs} pairs\n")
    assert printed.count("Load more") == said
    assert "--row" not in "\n".join(links("http://127.0.0.1:5000", [shown], "deep", None))
