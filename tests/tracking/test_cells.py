from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from small_results import Small, make_cell, make_epoch

from lmc_repro.config.plan import Cell, StudyPlan
from lmc_repro.tracking import cell_identity
from lmc_repro.tracking.content import TAG_LIMIT, provenance_tag
from lmc_repro.tracking.find import Reader
from lmc_repro.tracking.views import run_view


def test_a_cell_is_read_back_exactly(small: Small, cell: Cell) -> None:
    run = small.run(small.finish())
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "fast deep"
    spread = {"_n": 2.0, "_median": 3.0, "_min": 2.0, "_max": 4.0}  # no sd of two
    expected = {"": 3.0, "_line": 2.5, "_norm_pct": 3.25, **spread}
    for split in ("train", "test"):
        found = {n: v for n, v in run.data.metrics.items() if n.startswith(f"barrier/{split}")}
        assert found == {f"barrier/{split}{end}": value for end, value in expected.items()}
        assert small.points(run.info.run_id, f"barrier_over_training/{split}") == [(2, 1.5), (4, 3.0)]
    assert cell.paper is not None
    assert {split: run.data.metrics[f"paper/{split}"] for split in ("test", "train")} == cell.paper
    assert run.data.params["paper.test"] == str(cell.paper["test"])
    assert run.data.params["optimizer.lr"] == "0.1"
    tags = run.data.tags
    assert tags["lmc.verdict.test"] == "disconnected"
    assert tags["lmc.verdict_strict.train"] == "mixed"
    assert tags["lmc.flags.test"] == "provisional unstable"
    assert tags["lmc.cell_id"] == cell_identity(cell, "d" * 64, "portable")
    _, _, test, train = tags["mlflow.note.content"].splitlines()
    numbers = "mean barrier **3.00**, line 2.50, median 3.00, 2.00 to 4.00, n 2"
    assert test == f"- test: disconnected, provisional, unstable; {numbers}; the paper's {cell.paper['test']:.2f}"
    assert train.startswith("- train: disconnected")
    assert small.points(run.info.run_id, "path/alpha") == [(0, 0.0), (500, 0.5), (1000, 1.0)]
    assert small.points(run.info.run_id, "path/test_error") == [(0, 10.0), (500, 50.0), (1000, 20.0)]
    assert run.info.end_time == run.info.start_time  # it waits for others
    assert json.loads(tags["lmc.provenance"]) == {
        "settings.model.width": "ours: small",
        "settings.epochs": "ours: small",
        "settings.evaluate_at": "ours: small",
        "optimizers.fast.kind": "inferred: a guess",
        "optimizers.fast.lr": "paper: Table 1",
        "optimizers.fast.momentum": "inferred: a guess",
        "batches.1K": "ours: small",
        "judgement.threshold": "cited: somebody",
        "judgement.min_train_accuracy": "cited: somebody",
    }


def test_unequal_ends_are_found_by_the_words_of_the_verdict(small: Small) -> None:
    result = make_cell(small.cell)
    test = replace(result.summary["test"], line_mean=0.11, verdict="unequal ends", flags=("nothing_to_lose",))
    run_id = small.tracker.finish_cell(small.cell, replace(result, summary={**result.summary, "test": test}))
    run = small.run(run_id)
    for query, count in (("= 'unequal ends'", 1), ("= 'disconnected'", 0)):
        found = small.client.search_runs([run.info.experiment_id], f"tags.`lmc.verdict.test` {query}")
        assert [run.info.run_id for run in found] == [run_id] * count
    assert run.data.metrics["barrier/test_line"] == 0.11
    assert "unequal ends, nothing to lose; mean barrier **3.00**, line 0.11," in run.data.tags["mlflow.note.content"]


def test_a_cell_without_the_papers_number(small: Small) -> None:
    small.cell = next(cell for cell in small.plan.cells if cell.key == "deep--slow")
    assert small.cell.paper is None
    run = small.run(small.finish())
    assert not [name for name in (*run.data.metrics, *run.data.params) if name.startswith("paper")]


def test_the_same_summary_adds_no_point_and_another_is_what_the_store_shows(small: Small) -> None:
    run_id = small.finish()
    assert small.finish() == small.finish(small.open()) == run_id
    assert small.points(run_id, "barrier/test") == [(0, 3.0)]
    assert small.points(run_id, "barrier_over_training/test") == [(2, 1.5), (4, 3.0)]
    assert small.finish(small.open(), 1.0) == run_id
    run = small.run(run_id)
    assert run.data.metrics["barrier/test"] == 1.0  # though the old one is larger
    assert small.points(run_id, "barrier/test") == [(0, 3.0), (0, 1.0)]
    assert small.points(run_id, "barrier/test_line") == [(0, 2.5)]
    assert small.points(run_id, "barrier_over_training/test") == [(2, 1.5), (4, 3.0), (4, 1.0)]
    assert run.info.status == "FINISHED"


def test_the_files_of_a_cell_are_put_with_each_new_summary(small: Small) -> None:
    def files() -> dict[str, bytes]:
        return {"cells.json": b"[]", "path.svg": b"<svg/>"}

    def none() -> dict[str, bytes]:
        raise AssertionError("made for a summary that is there already")

    result = make_cell(small.cell)
    run_id = small.tracker.finish_cell(small.cell, result, files)
    assert sorted(file.path for file in small.client.list_artifacts(run_id)) == ["cells.json", "path.svg"]
    assert small.open().finish_cell(small.cell, result, none) == run_id
    first, *others = result.pairs
    moved = replace(first, evaluations=(*first.evaluations[:-1], make_epoch(4, 1)))  # the path alone differs
    small.tracker.finish_cell(small.cell, replace(result, pairs=(moved, *others)), lambda: {"curves.csv": b"a"})
    assert "curves.csv" in [file.path for file in small.client.list_artifacts(run_id)]


def test_cells_are_begun_in_the_order_of_the_table(small: Small) -> None:
    last = small.plan.cells[-1]
    small.tracker.begin([last])
    (first,) = small.found("cell")
    small.tracker.begin(small.plan.cells)
    small.open().begin(small.plan.cells)
    found = sorted(small.found("cell"), key=lambda run: run.info.start_time)
    others = [cell.key for cell in small.plan.cells[:-1]]
    assert [run.data.tags["lmc.cell"] for run in found] == [last.key, *others]
    assert found[0].info.run_id == first.info.run_id


OLD = {"": "_mean", "_line": "_line_mean", "_norm_pct": "_norm_pct_mean"}


def test_a_cell_of_an_earlier_version_is_read_and_published_again_in_place(small: Small) -> None:
    small.tracker.begin([small.cell])
    (run,) = small.found("cell")
    run_id = run.info.run_id
    for split in ("train", "test"):
        for end, value in (("_mean", 3.0), ("_line_mean", 2.5), ("_norm_pct_mean", 3.25), ("_n", 2.0)):
            small.client.log_metric(run_id, f"barrier/{split}{end}", value)
        small.client.log_metric(run_id, f"barrier_over_training/{split}_mean", 1.5, step=2)
    reader = Reader(small.tracker.store.uri)

    def shown() -> dict[str, Any]:
        return run_view(reader, reader.run(run_id))

    old = shown()
    assert (old["numbers"]["barrier/test"], old["numbers"]["barrier/train_line"]) == (3.0, 2.5)
    assert old["curves"]["barrier_over_training/test"] == [[2, 1.5]]
    assert small.finish(small.open()) == run_id and len(small.found("cell")) == 1
    metrics = small.run(run_id).data.metrics
    assert {metrics[f"barrier/test{end}"] for end in OLD} == {3.0, 2.5, 3.25}
    assert all(math.isnan(metrics[f"barrier/test{end}"]) for end in OLD.values())
    new = shown()
    assert new["numbers"].items() >= {"barrier/test": 3.0, "barrier/test_line": 2.5}.items()
    assert not new["numbers"].keys() & {f"barrier/test{end}" for end in OLD.values()}
    assert new["curves"]["barrier_over_training/test"] == [[2, 1.5], [4, 3.0]]


def test_numbers_that_are_gone_become_nan(small: Small) -> None:
    run_id = small.finish()
    for _ in range(2):
        small.finish(mean=None)
    run = small.run(run_id)
    assert math.isnan(run.data.metrics["barrier/test"])
    assert run.data.metrics["barrier/test_n"] == 0.0
    assert run.data.tags["lmc.verdict.test"] == "none"
    assert len(small.points(run_id, "barrier/test")) == 2
    small.finish()
    assert small.run(run_id).data.metrics["barrier/test"] == 3.0


@pytest.mark.parametrize(
    ("data", "numerics", "change"),
    [
        ("e" * 64, "portable", {}),
        ("d" * 64, "native:AVX2", {}),
        ("d" * 64, "portable", {"key": "deep--slow"}),
        ("d" * 64, "portable", {"config": {"epochs": 5}}),
    ],
)
def test_the_identity_of_a_cell(cell: Cell, data: str, numerics: str, change: dict[str, object]) -> None:
    same = cell_identity(cell, "d" * 64, "portable")
    assert same == cell_identity(replace(cell, pairs=cell.pairs[:1]), "d" * 64, "portable")
    assert cell_identity(replace(cell, **change), data, numerics) != same  # type: ignore[arg-type]


def test_a_long_provenance_is_not_cut_in_the_middle(plan: StudyPlan, cell: Cell) -> None:
    long = plan.profile_config.model_copy(
        update={"provenance": {**plan.profile_config.provenance, "settings": f"ours: {'x' * 4000}"}}
    )
    tag = provenance_tag(long, cell)
    assert len(tag) <= TAG_LIMIT
    assert json.loads(tag)["settings.model.width"] == "ours"
