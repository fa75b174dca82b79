"""The published view: its undocumented format, and that it is set once."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from small_study import open_tracker

from lmc_repro.project import Project
from lmc_repro.schemas.plan import StudyPlan
from lmc_repro.tracking.ui import CELLS_VIEW, VIEW, cells_state, read_view, view_state, view_tag


def test_the_tag_is_what_mlflow_unpacks() -> None:
    tag = json.loads(view_tag("a name", view_state(), 1234))
    assert (tag["name"], tag["createdAt"], tag["updatedAt"]) == ("a name", 1234, 1234)
    method, _, packed = tag["state"].partition(";")
    assert method == "deflate"
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == view_state()
    assert read_view(view_tag("", cells_state(), 1)) == cells_state() != view_state()
    assert len(view_tag("Paths of all pairs", view_state(), 10**13)) < 5000  # MLflow refuses longer tags


def test_charts_are_over_alpha_and_stand_in_their_sections() -> None:
    state = view_state()
    sections = [section["uuid"] for section in state["compareRunSections"]]
    charts = {chart["metricKey"]: chart for chart in state["compareRunCharts"]}
    assert list(charts) == ["path/test_error", "path/test_excess", "barrier/test", "barrier/test_norm_pct"]
    for metric, chart in charts.items():
        kind, section = ("LINE", sections[0]) if metric.startswith("path/") else ("BAR", sections[1])
        assert (chart["type"], chart["metricSectionId"]) == (kind, section)
        if kind == "LINE":
            axis = {"xAxisKey": "metric", "selectedXAxisMetricKey": "path/alpha", "useGlobalXaxisKey": False}
            assert axis.items() <= chart.items()
    assert len({chart["uuid"] for chart in charts.values()}) == 4
    assert state["runsHiddenMode"] == "SHOWALL"
    assert state["orderByKey"] != "attributes.start_time"


def test_the_table_of_cells_is_ordered_by_date_and_finds_all() -> None:
    state = cells_state()
    assert (state["searchFilter"], state["orderByKey"], state["orderByAsc"]) == ("", "attributes.start_time", True)
    assert {"metrics.`barrier/test_mean`", "metrics.`barrier/test`", "metrics.`test/error`"} <= set(
        state["selectedColumns"]
    )


def test_the_installed_mlflow_knows_every_word() -> None:
    """A new MLflow that reads another format does not have all of these in its pages."""
    scripts = (Path(mlflow.__file__).parent / "server/js/build/static/js").glob("*.js")
    pages = b"".join(path.read_bytes() for path in scripts)
    state = view_state()
    words = {VIEW.rpartition(".")[0] + ".", "deflate;", "viewStateShareKey", "SHOWALL", *state}
    words |= {key for part in state["compareRunCharts"] + state["compareRunSections"] for key in part}
    assert {word for word in words if word.encode() not in pages} == set()


@pytest.mark.parametrize("tag", ["", "[]", '{"state": 1}', '{"state": "deflate;x"}', '{"state": "deflate;WzFd"}'])
def test_what_cannot_be_read_is_no_view(tag: str) -> None:
    assert read_view(tag) is None


def test_every_experiment_carries_it_and_it_is_set_once(
    project: Project, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = open_tracker(project, plan).run_ids()
    client = MlflowClient(ids["uri"])
    tags = client.get_experiment(ids["experiment_id"]).tags
    tag = tags[VIEW]
    assert read_view(tag) == view_state()
    assert read_view(tags[CELLS_VIEW]) == cells_state()
    calls: list[tuple[str, ...]] = []
    original = MlflowClient.set_experiment_tag
    monkeypatch.setattr(MlflowClient, "set_experiment_tag", lambda *a: (calls.append(a[1:]), original(*a))[1])
    open_tracker(project, plan)
    assert calls == []
    client.set_experiment_tag(ids["experiment_id"], VIEW, "somebody's")
    open_tracker(project, plan)
    assert client.get_experiment(ids["experiment_id"]).tags[VIEW] == tag
