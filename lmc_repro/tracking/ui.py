"""MLflow's pages: the published views of an experiment, and the addresses that lead to its paths and tables.

MLflow keeps a shared view as an experiment tag of compressed JSON. The format is not documented: it was read off the
tags that its own Share button writes (3.17 and 3.18). All that is known of it is in this file; `pairs_link` gives,
beside the view, an address with only a filter and an order.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from lmc_repro.tracking import names
from lmc_repro.tracking.store import insist

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
"""Not the date: ordered by date, MLflow nests the runs and does not draw those below a folded parent."""

DATE = "attributes.start_time"
"""The order by which MLflow nests them."""

_PREFIX = "deflate;"
_RUN_NAME = "attributes.`Run Name`"
_RUNS = "experiments/{}/runs"
_CELLS_METRICS = ("barrier/test", "barrier/test_line", "barrier/test_norm_pct", "test/error")
_METRICS = ("barrier/test", "barrier/test_line", "barrier/test_norm_pct", "barrier/test_argmax_alpha", "barrier/train")
_PATHS, _BARS = "lmc-paths", "lmc-barriers"
_OURS = {"deleted": False, "isGenerated": False}


def publish_view(client: MlflowClient, experiment: Experiment) -> None:
    """Set the experiment's views, unless it has these; another version's is replaced under the same address."""
    for key, name, state in ((VIEW, "Paths of all pairs", view_state()), (CELLS_VIEW, "Cells", cells_state())):
        tag = experiment.tags.get(key)
        if tag is None or read_view(tag) != state:
            new = view_tag(name, state, experiment.creation_time or 0)
            insist(client.set_experiment_tag, experiment.experiment_id, key, new)


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
    return view_state() | order | {"selectedColumns": _columns((), _CELLS_METRICS, ("lmc.verdict.test",))}


def view_state() -> dict[str, Any]:
    """Return the state of the page of runs: search, columns, and four charts in two sections."""
    return {
        "searchFilter": PAIRS,
        "orderByKey": ORDER,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": _columns(("row", "column"), _METRICS, ("lmc.status_0", "lmc.status_1")),
        "columnOrder": [_RUN_NAME],
        "columnWidths": {_RUN_NAME: 340},  # pixels; MLflow's 190 cut off the names of trainings and pairs
        "runsHiddenMode": "SHOWALL",  # the default draws the first ten runs only
        "compareRunCharts": [
            _line("path/test_error", "Test error along the path, points (x: alpha)"),
            _line("path/test_excess", "Test error above the chord between the ends, points (x: alpha)"),
            _chart("BAR", _BARS, "barrier/test", "Test barrier, Eq. 1, points"),
            _chart("BAR", _BARS, "barrier/test_norm_pct", "Normalised test barrier, Eq. 2, %"),
        ],
        "compareRunSections": [
            # Pixels; MLflow's 360 leave half of a card to legend and frame.
            {"uuid": uuid, "name": name, "display": True, "isReordered": True, "columns": 2, "cardHeight": 480, **_OURS}
            for uuid, name in ((_PATHS, "Paths"), (_BARS, "Barriers"))
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }


def _columns(params: Sequence[str], metrics: Sequence[str], tags: Sequence[str]) -> list[str]:
    kinds = (("params", params), ("metrics", metrics), ("tags", tags))
    return [f"{kind}.`{name}`" for kind, named in kinds for name in named]


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


def _chart(kind: str, section: str, metric: str, title: str) -> dict[str, Any]:
    return {
        "uuid": f"lmc-{metric.replace('/', '-')}",
        "type": kind,
        "metricKey": metric,
        "displayName": title,
        "metricSectionId": section,
        "runsCountToCompare": 100,
        **_OURS,
    }


def view_link(base: str, experiment_id: str) -> str:
    """Return the address of the published view."""
    return _page(base, _RUNS.format(experiment_id), {"compareRunsMode": "CHART", "viewStateShareKey": SHARE_KEY})


def pairs_link(base: str, experiment_id: str, query: str = PAIRS) -> str:
    """Return the flat list of pairs as charts by filter and order alone, both documented."""
    order = {"searchFilter": query, "orderByKey": ORDER, "orderByAsc": "false", "compareRunsMode": "CHART"}
    return _page(base, _RUNS.format(experiment_id), order)


def table_link(base: str, experiment_id: str, query: str = "") -> str:
    """Return the table in which trainings and pairs stand below their cells: that needs the order by date.

    The published one, with columns of its own, unless there is a search: MLflow does not take both.
    """
    order = {"searchFilter": query, "orderByKey": DATE, "orderByAsc": "true", "compareRunsMode": "TABLE"}
    view = {"compareRunsMode": "TABLE", "viewStateShareKey": CELLS_KEY}
    return _page(base, _RUNS.format(experiment_id), order if query else view)


def metric_link(base: str, experiment_id: str, run_ids: Sequence[str], metric: str = METRIC) -> str:
    """Return the metric's own page by step: its default axis is time, on which a path is one upright line."""
    values = {"runs": run_ids, "metric": metric, "experiments": [experiment_id], "plot_metric_keys": [metric]}
    return _page(base, "metric", {**_compact(values), "x_axis": "step"})


def compare_link(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Return the page that sets runs side by side."""
    return _page(base, "compare-runs", _compact({"runs": run_ids, "experiments": [experiment_id]}))


def _page(base: str, page: str, query: Mapping[str, str]) -> str:
    # Without workflowType MLflow opens in its mode for language models. Last, since two pages need `runs` first.
    values = {**query, "workflowType": "machine_learning"}
    return f"{base}/#/{page}?{urlencode(values, quote_via=quote, safe='')}"


def _compact(values: Mapping[str, object]) -> dict[str, str]:
    return {name: json.dumps(value, separators=(",", ":")) for name, value in values.items()}
