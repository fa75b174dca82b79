"""MLflow's pages: the published views of an experiment, and the addresses that lead to its paths and tables.

MLflow keeps a shared view as an experiment tag of compressed JSON. The format is not documented: it was read off the
tags that its own Share button writes (3.17 and 3.18). All that is known of it is in this file; `pairs_link` gives,
beside the view, an address with nothing but a filter and an order.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from lmc_repro.tracking import names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

METRIC = "path/test_error"
SHARE_KEY, CELLS_KEY = "lmc-pairs", "lmc-cells"
"""The views' names in addresses; they stay when the views change."""

VIEW = f"mlflow.sharedViewState.{SHARE_KEY}"
CELLS_VIEW = f"mlflow.sharedViewState.{CELLS_KEY}"
PAIRS = f"tags.`{names.KIND}` = 'pair'"
ORDER = "metrics.`barrier/test`"
"""Anything but the date: ordered by that, MLflow nests the runs and does not draw the children of a folded parent."""

DATE = "attributes.start_time"
"""The order by which MLflow nests them."""

_PREFIX = "deflate;"
_RUN_NAME = "attributes.`Run Name`"
_CELLS_COLUMNS = (
    "metrics.`barrier/test_mean`",
    "metrics.`barrier/test_line_mean`",
    "metrics.`barrier/test`",
    "metrics.`barrier/test_line`",
    "metrics.`test/error`",
    "tags.`lmc.verdict.test`",
)
_COLUMNS = (
    "params.`row`",
    "params.`column`",
    "metrics.`barrier/test`",
    "metrics.`barrier/test_line`",
    "metrics.`barrier/test_norm_pct`",
    "metrics.`barrier/test_argmax_alpha`",
    "metrics.`barrier/train`",
    "tags.`lmc.status_0`",
    "tags.`lmc.status_1`",
)
_PATHS, _BARS = "lmc-paths", "lmc-barriers"


def publish_view(client: MlflowClient, experiment: Experiment) -> None:
    """Set the experiment's views, unless it has these; another version's is replaced under the same address."""
    for key, name, state in ((VIEW, "Paths of all pairs", view_state()), (CELLS_VIEW, "Cells", cells_state())):
        tag = experiment.tags.get(key)
        if tag is None or read_view(tag) != state:
            new = view_tag(name, state, experiment.creation_time or 0)
            client.set_experiment_tag(experiment.experiment_id, key, new)


def view_tag(name: str, state: dict[str, Any], created: int) -> str:
    """Return the tag's value; `created`, in milliseconds, is the experiment's, so that equal views are equal tags."""
    packed = base64.b64encode(zlib.compress(json.dumps(state, sort_keys=True).encode(), 9)).decode()
    return json.dumps({"name": name, "createdAt": created, "updatedAt": created, "state": _PREFIX + packed})


def read_view(tag: str) -> dict[str, Any] | None:
    """Return the state in a tag's value; None if it cannot be read, as when a person or another MLflow wrote it."""
    try:
        state = json.loads(zlib.decompress(base64.b64decode(json.loads(tag)["state"].removeprefix(_PREFIX))))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None
    return state if isinstance(state, dict) else None


def cells_state() -> dict[str, Any]:
    """Return the same of the nested table: trainings and pairs below their cells."""
    order = {"searchFilter": "", "orderByKey": DATE, "orderByAsc": True}
    return view_state() | order | {"selectedColumns": list(_CELLS_COLUMNS)}


def view_state() -> dict[str, Any]:
    """Return what the page of runs shows: search, columns, and four charts in two sections."""
    return {
        "searchFilter": PAIRS,
        "orderByKey": ORDER,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(_COLUMNS),
        "columnOrder": [_RUN_NAME],
        "columnWidths": {_RUN_NAME: 340},  # pixels; its own 190 cut off which training or pair it is
        "runsHiddenMode": "SHOWALL",  # the default draws the first ten runs only
        "compareRunCharts": [
            _line("path/test_error", "Test error along the path, points (x: alpha)"),
            _line("path/test_excess", "Test error above the chord between the ends, points (x: alpha)"),
            _bar("barrier/test", "Test barrier, Eq. 1, points"),
            _bar("barrier/test_norm_pct", "Normalised test barrier, Eq. 2, %"),
        ],
        "compareRunSections": [_section(_PATHS, "Paths"), _section(_BARS, "Barriers")],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }


def _line(metric: str, title: str) -> dict[str, Any]:
    """A metric over `path/alpha`, not over the step, which is 1000 alpha."""
    return _chart("LINE", _PATHS, metric, title) | {
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "metric",
        "selectedXAxisMetricKey": "path/alpha",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
        "selectedYAxisMetricKey": "metric",
    }


def _bar(metric: str, title: str) -> dict[str, Any]:
    return _chart("BAR", _BARS, metric, title)


def _chart(kind: str, section: str, metric: str, title: str) -> dict[str, Any]:
    return {
        "uuid": f"lmc-{metric.replace('/', '-')}",
        "type": kind,
        "metricKey": metric,
        "displayName": title,
        "metricSectionId": section,
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
    }


def _section(uuid: str, name: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 480,  # pixels; its own 360 leave half of it to legend and frame
    }


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
