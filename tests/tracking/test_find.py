"""The look-up: what is read in an sqlite store's file is what MLflow finds, and nothing else is asked or loaded."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_results import make_cell, make_pair
from small_study import make_plan, open_tracker, write_run

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project
from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking.find import Reader, StoredRun, Wanted


@pytest.fixture
def reader(project: Project) -> Reader:
    return Reader.open(project.root)


class Searched(Reader):
    """One that asks MLflow, as for a server."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.uri)
        self._database = None


def in_order(run: StoredRun) -> str:
    parts = {name: dict(sorted(getattr(run, name).items())) for name in ("params", "tags", "metrics", "models")}
    return repr(replace(run, **parts))


def test_the_file_and_mlflow_say_the_same(project: Project, plan: StudyPlan, tmp_path: Path, reader: Reader) -> None:
    """Trainings with models, one that was killed, a reused one, pairs, cells, NaN and infinity, a deleted run."""
    with open_tracker(project, make_plan("two")) as elsewhere:
        reused = plan.cells[0].runs[0]
        elsewhere.sync_train(plan.cells[0], reused, write_run(tmp_path, reused))
    with open_tracker(project, plan) as tracker:
        trainings = [(cell, config) for cell in plan.cells[:3] for config in cell.runs]
        ids = [tracker.sync_train(cell, config, write_run(tmp_path, config)) for cell, config in trainings]
        some, gone = ids[4:6]
        pair = plan.cells[0].pairs[0]
        made = tracker.log_pair(plan.cells[0], "a" * 16, make_pair(pair), lambda: {"a.png": b"png"})
        tracker.finish_cell(plan.cells[0], make_cell(plan.cells[0]))
        client, here = tracker.client, tracker.run_ids()["experiment_id"]
        client.log_metric(some, "train/loss", float("nan"), step=9)
        client.log_metric(some, "test/loss", float("inf"), step=9)
        client.set_terminated(some, "KILLED")
        client.delete_run(gone)
        cell_id = tracker.cell_id(plan.cells[0])
    searched = Searched(reader)
    questions: list[tuple[Wanted, dict[str, list[str]]]] = [
        ({"lmc.kind": "cell"}, {}),
        ({"lmc.kind": "train"}, {"experiments": [here]}),
        ({"lmc.kind": ("train", "pair"), "lmc.study": "one"}, {}),
        ({"lmc.cell_id": cell_id, "lmc.kind": "pair"}, {"experiments": [here]}),
        ({}, {"ids": [some, gone, made]}),
        ({"lmc.kind": ()}, {}),
    ]
    counts = []
    for wanted, limits in questions:
        read, found = reader.runs(wanted, **limits), searched.runs(wanted, **limits)
        assert list(map(in_order, read)) == list(map(in_order, found))
        counts.append(len(read))
        names = ("train/loss", "test/loss", "path/test_error", "none")
        assert repr(reader.histories(read, names)) == repr(searched.histories(found, names))
    assert counts == [4, 11, 12, 1, 2, 0]
    found = reader.runs({"lmc.kind": "train"})
    assert any(run.models for run in found) and any("lmc.reused_from" in run.tags for run in found)
    assert reader.experiments() == searched.experiments() and len(reader.experiments()) == 2
    assert reader.study("one", "tiny") == searched.study("one", "tiny") != reader.study("one", "none")
    assert in_order(reader.run(made)) == in_order(replace(searched.run(made), inputs=set()))
    assert reader.run(gone).run_id == gone  # the weights of a deleted run may still be asked for
    (only,) = reader.runs({}, ids=[made], only=["lmc.pair"])
    assert (only.tags, only.params, only.metrics) == ({"lmc.pair": pair.name}, {}, {})
    (file,), (search,) = reader.filled([only]), searched.filled(searched.runs({}, ids=[made], only=["lmc.pair"]))
    assert in_order(file) == in_order(search) == in_order(reader.run(made))


def test_runs_come_oldest_first_and_what_others_commit_is_seen(
    project: Project, plan: StudyPlan, reader: Reader
) -> None:
    tracker, other = open_tracker(project, plan), open_tracker(project, make_plan("two"))
    here, there = tracker.run_ids()["experiment_id"], other.run_ids()["experiment_id"]
    assert reader.runs({"lmc.cell_id": "a"}) == []
    made = [
        tracker.client.create_run(where, start_time=start, tags={"lmc.cell_id": cell}).info.run_id
        for where, start, cell in ((here, 30, "a"), (here, 10, "b"), (here, 20, "c"), (there, 5, "a"))
    ]
    assert [run.run_id for run in reader.runs({"lmc.cell_id": {"a", "b"}}, [here])] == [made[1], made[0]]
    with closing(sqlite3.connect(project.root / "mlflow.db")) as writer:
        writer.execute("UPDATE tags SET value = 'd' WHERE run_uuid = ? AND key = 'lmc.cell_id'", (made[2],))
        assert reader.runs({"lmc.cell_id": "d"}) == []
        writer.commit()
    assert [run.run_id for run in reader.runs({"lmc.cell_id": "d"})] == [made[2]]


def test_new_and_finished_work_costs_no_search_and_loads_its_own_cell_alone(
    project: Project, plan: StudyPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_tracker(project, make_plan("two")).close()  # there is another experiment to search through
    chosen, other = plan.cells[1], plan.cells[0]
    folders = {config: write_run(tmp_path, config) for config in (*chosen.runs, *other.runs)}

    def refused(*arguments: object, **rest: object) -> None:
        raise AssertionError("MLflow was searched")

    monkeypatch.setattr(MlflowClient, "search_runs", refused)
    with open_tracker(project, plan) as tracker:
        for cell in (other, chosen):
            tracker.sync_train(cell, cell.runs[0], folders[cell.runs[0]])
        tracker.log_pair(chosen, "a" * 16, make_pair(chosen.pairs[0]), dict)
    read: list[str] = []
    runs = Reader.runs

    def counting(self: Reader, *arguments: object, **rest: object) -> list[StoredRun]:
        found = runs(self, *arguments, **rest)  # type: ignore[arg-type]
        read.extend(run.kind for run in found)
        return found

    monkeypatch.setattr(Reader, "runs", counting)
    with open_tracker(project, replace(plan, cells=(chosen,))) as tracker:
        assert not tracker.wrote(tracker.sync_train(chosen, chosen.runs[0], folders[chosen.runs[0]]))
    assert sorted(read) == ["cell", "pair", "train"]


@pytest.mark.slow
def test_what_another_process_made_meanwhile_is_found(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path
) -> None:
    pair = cell.pairs[0]
    folders = [write_run(tmp_path, config) for config in pair.runs]
    with open_tracker(project, plan) as first, open_tracker(project, plan) as second:
        for i, (one, other) in enumerate(((first, second), (second, first))):  # each has asked before the other writes
            assert one.sync_train(cell, pair.runs[i], folders[i]) == other.sync_train(cell, pair.runs[i], folders[i])
        pairs = {tracker.log_pair(cell, "a" * 16, make_pair(pair), dict) for tracker in (first, second)}
        assert len(pairs) == 1
        kinds = sorted(run.kind for run in first.reader.runs({}, [first.run_ids()["experiment_id"]]))
        assert kinds == ["cell", "pair", "train", "train"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no MLflow store"), (b"no database" * 500, "cannot be read"), (b"", "no such table")],
)
def test_what_is_no_store_is_one_line_and_stays_as_it_is(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    with pytest.raises(LmcError, match=rf"mlflow\.db: .*{said}") as error:
        Reader.open(tmp_path)
    assert "\n" not in str(error.value)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if content is None else [content])


def test_tables_of_another_mlflow_are_searched_through_mlflow(
    project: Project, plan: StudyPlan, cell: Cell, tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_tracker(project, plan) as tracker:
        made = tracker.sync_train(cell, cell.runs[0], write_run(tmp_path, cell.runs[0]))
    monkeypatch.setattr("lmc_repro.tracking.find._LIST", "(SELECT value FROM a_table_of_old)")
    assert [run.run_id for run in reader.runs({"lmc.kind": "train"})] == [made]
    assert [step for step, _ in reader.history(reader.run(made), ["test/loss"])["test/loss"]] == [0, 2, 4]


@pytest.mark.slow
def test_neither_mlflow_nor_torch_is_imported_for_a_database(project: Project) -> None:
    program = (
        "import sys; from pathlib import Path; import lmc_repro.report.run_text, lmc_repro.tracking.views; "
        "from lmc_repro.tracking.find import Reader; "
        f"reader = Reader.open(Path({str(project.root)!r})); reader.runs({{}}); "
        "print(sorted({'torch', 'mlflow', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
