"""Addresses in MLflow's user interface: the view, the nested table, metric and comparison of pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from lmc_repro.tracking.view import CELLS_KEY, DATE, ORDER, PAIRS, SHARE_KEY

METRIC = "path/test_error"


def view_link(base: str, experiment_id: str) -> str:
    """Return the address of the published view."""
    return _runs(base, experiment_id, {"compareRunsMode": "CHART", "viewStateShareKey": SHARE_KEY})


def pairs_link(base: str, experiment_id: str, query: str = PAIRS) -> str:
    """Return the flat list of pairs as charts by filter and order alone, which rests on nothing undocumented."""
    order = {"searchFilter": query, "orderByKey": ORDER, "orderByAsc": "false"}
    return _runs(base, experiment_id, {**order, "compareRunsMode": "CHART"})


def table_link(base: str, experiment_id: str, query: str = "") -> str:
    """Return the table in which trainings and pairs stand below their cells: that needs the order by date.

    The published one, with columns of its own, unless there is a search: MLflow does not take both.
    """
    if not query:
        return _runs(base, experiment_id, {"compareRunsMode": "TABLE", "viewStateShareKey": CELLS_KEY})
    order = {"searchFilter": query, "orderByKey": DATE, "orderByAsc": "true"}
    return _runs(base, experiment_id, {**order, "compareRunsMode": "TABLE"})


def metric_link(base: str, experiment_id: str, run_ids: Sequence[str], metric: str = METRIC) -> str:
    """Return the metric's own page by step: its default axis is time, on which a path is one upright line."""
    values = {"runs": list(run_ids), "metric": metric, "experiments": [experiment_id], "plot_metric_keys": [metric]}
    query = {name: _compact(value) for name, value in values.items()}
    return _page(base, "metric", {**query, "x_axis": "step"})


def compare_link(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Return the page that sets runs side by side."""
    return _page(base, "compare-runs", {"runs": _compact(list(run_ids)), "experiments": _compact([experiment_id])})


def _runs(base: str, experiment_id: str, query: Mapping[str, str]) -> str:
    return _page(base, f"experiments/{experiment_id}/runs", query)


def _page(base: str, page: str, query: Mapping[str, str]) -> str:
    # Without workflowType MLflow opens in its mode for language models. Last: two pages want `runs` to be the first.
    values = {**{name: value for name, value in query.items() if value}, "workflowType": "machine_learning"}
    return f"{base}/#/{page}?{urlencode(values, quote_via=quote, safe='')}"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
