from __future__ import annotations

import json
from urllib.parse import parse_qs

from lmc_repro.tracking.ui import CELLS_KEY, SHARE_KEY, compare_link, metric_link, pairs_link, table_link, view_link
from lmc_repro.tracking.views import narrowed

BASE = "http://127.0.0.1:5000"


def parts(link: str) -> tuple[str, dict[str, str]]:
    page, _, query = link.partition("?")
    assert not set(query) & set(" '\"`[]"), "a terminal ends a link at these"
    return page, {name: value for name, (value,) in parse_qs(query, strict_parsing=True).items()}


def test_pages_of_an_experiment() -> None:
    shared = {"workflowType": "machine_learning"}
    page = f"{BASE}/#/experiments/7/runs"
    assert parts(view_link(BASE, "7")) == (
        page,
        {"compareRunsMode": "CHART", "viewStateShareKey": SHARE_KEY, **shared},
    )
    order = {"orderByKey": "metrics.`barrier/test`", "orderByAsc": "false", "compareRunsMode": "CHART"}
    assert parts(pairs_link(BASE, "7")) == (page, {"searchFilter": "tags.`lmc.kind` = 'pair'", **order, **shared})
    cells = {"compareRunsMode": "TABLE", "viewStateShareKey": CELLS_KEY}
    assert parts(table_link(BASE, "7")) == (page, {**cells, **shared})
    nested = {"orderByKey": "attributes.start_time", "orderByAsc": "true", "compareRunsMode": "TABLE"}
    assert parts(table_link(BASE, "7", "x = 1")) == (page, {"searchFilter": "x = 1", **nested, **shared})


def test_pages_of_runs_begin_with_the_runs() -> None:
    """MLflow calls the address of these two invalid if anything else comes first."""
    for link in (metric_link(BASE, "7", ["a", "b"]), compare_link(BASE, "7", ["a", "b"])):
        _page, query = parts(link)
        assert next(iter(query)) == "runs"
        assert json.loads(query["runs"]) == ["a", "b"]
        assert json.loads(query["experiments"]) == ["7"]
    assert parts(metric_link(BASE, "7", ["a"]))[1]["x_axis"] == "step"
    assert json.loads(parts(metric_link(BASE, "7", ["a"]))[1]["metric"]) == "path/test_error"


def test_a_search_is_narrowed() -> None:
    assert narrowed("", None, None) == ""
    assert narrowed("", "deep", None) == "tags.`lmc.row` = 'deep'"
    assert narrowed("x = 1", "deep", "fast") == "x = 1 and tags.`lmc.row` = 'deep' and tags.`lmc.column` = 'fast'"
