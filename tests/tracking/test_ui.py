"""MLflow's pages: the published views, whose format is not documented, the links, and the pairs that `lmc ui` shows."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from urllib.parse import parse_qs

import mlflow
import pytest
from mlflow import MlflowClient
from small_results import make_pair
from small_study import open_tracker

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.plan import StudyPlan
from lmc_repro.tracking.store import NoStore
from lmc_repro.tracking.ui import (
    CELLS_KEY,
    CELLS_VIEW,
    SHARE_KEY,
    VIEW,
    cells_state,
    compare_link,
    metric_link,
    pairs_link,
    read_view,
    table_link,
    view_link,
    view_state,
    view_tag,
)
from lmc_repro.tracking.views import find_shown, narrowed

BASE = "http://127.0.0.1:5000"


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
    assert {"metrics.`barrier/test_line`", "metrics.`barrier/test`", "metrics.`test/error`"} <= set(
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


def publish(project: Project, plan: StudyPlan) -> dict[str, dict[str, str]]:
    """One pair a cell, and one of `deep--fast` that did not train, by cell and pair."""
    tracker = open_tracker(project, plan)
    found: dict[str, dict[str, str]] = {}
    for number, cell in enumerate(plan.cells):
        result = make_pair(cell.pairs[0])
        found[cell.key] = {"0": tracker.log_pair(cell, f"{number:016d}", result, dict)}
        if cell.key == "deep--fast":
            found[cell.key]["1"] = tracker.log_pair(cell, "f" * 16, make_pair(cell.pairs[1], trained=False), dict)
    tracker.close()
    return found


def test_pairs_are_found_and_narrowed(project: Project, plan: StudyPlan) -> None:
    runs = publish(project, plan)
    uri, (shown,) = find_shown(project, None, None, None)
    assert uri == f"sqlite:///{project.root}/mlflow.db"
    assert shown.name == "lmc/one/tiny"
    assert set(shown.pairs) == {run for pairs in runs.values() for run in pairs.values()}
    assert shown.pairs[-1] == runs["deep--fast"]["1"]  # no barrier
    deep = find_shown(project, "one", "deep", None)[1][0].pairs
    assert set(deep) == {*runs["deep--fast"].values(), *runs["deep--slow"].values()}
    assert find_shown(project, "one", "deep", "slow")[1][0].pairs == (runs["deep--slow"]["0"],)


def test_a_view_that_is_missing_is_set(project: Project, plan: StudyPlan) -> None:
    ids = open_tracker(project, plan).run_ids()
    client = MlflowClient(ids["uri"])
    client.delete_experiment_tag(ids["experiment_id"], VIEW)
    find_shown(project, "one", None, None)
    assert VIEW in client.get_experiment(ids["experiment_id"]).tags


def test_what_is_not_there_is_one_line(project: Project, plan: StudyPlan, tmp_path: Path) -> None:
    with pytest.raises(LmcError, match=r"holds no study; run `dvc repro` or `lmc run STUDY` first$"):
        find_shown(project, None, None, None)
    publish(project, plan)
    with pytest.raises(LmcError, match=r"^STUDY: found 'three', the store holds: one$"):
        find_shown(project, "three", None, None)
    with pytest.raises(LmcError, match=r"^--row: found 'x', the pairs have: deep, shallow$"):
        find_shown(project, "one", "x", None)
    with pytest.raises(LmcError, match=r"^--column: found 'x', the pairs have: fast, slow$"):
        find_shown(project, "one", None, "x")
    empty = Project(tmp_path / "empty")
    empty.root.mkdir()
    with pytest.raises(NoStore):
        find_shown(empty, None, None, None)
    assert not list(empty.root.iterdir())
