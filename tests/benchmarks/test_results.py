"""The result file keeps numbers of one machine, and the store's copies are whole cells; nothing is measured here."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path


def test_parts_stand_beside_others_of_the_same_machine_and_torch_only(tmp_path: Path) -> None:
    from benchmarks.__main__ import before

    about = {"machine": {"cpu": "a"}, "torch": "2", "data": "random", "quick": True}
    file = tmp_path / "latest.json"
    assert before(file, about) == {}
    file.write_text(json.dumps({**about, "curve_ratio": 0.5}))
    assert before(file, about)["curve_ratio"] == 0.5
    assert before(file, {**about, "torch": "3"}) == before(file, {**about, "machine": {"cpu": "b"}}) == {}


def test_spread_is_median_and_ends() -> None:
    from benchmarks.spread import spread

    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}


def test_flops_of_an_epoch_by_hand() -> None:
    """784-512-10 on 20,480 images: 4 FLOPs a weight in the first layer, 6 in the second."""
    from benchmarks.training import epoch_flops

    assert epoch_flops("minimal") == 20_480 * (4 * 784 * 512 + 6 * 512 * 10)


def test_a_store_grows_by_whole_cells(tmp_path: Path) -> None:
    """A cell with one training: each copy has its own ids, and its training is its own cell's."""
    from benchmarks.store import multiply

    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT)")
        store.execute("CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT)")
        store.execute(
            "CREATE TABLE inputs (input_uuid TEXT, source_type TEXT, source_id TEXT, destination_type TEXT, "
            "destination_id TEXT)"
        )
        cell, train = "c" * 32, "t" * 32
        store.executemany("INSERT INTO runs VALUES (?, ?)", [(cell, "cell"), (train, "train")])
        tags = [
            ("lmc.cell", "deep", cell),
            ("lmc.cell", "deep", train),
            ("lmc.fingerprint", "f" * 16, train),
            ("mlflow.parentRunId", cell, train),
        ]
        store.executemany("INSERT INTO tags VALUES (?, ?, ?)", tags)
        store.execute("INSERT INTO inputs VALUES (?, 'RUN_OUTPUT', ?, 'MODEL_OUTPUT', 'm-1')", ("i" * 32, train))
    assert multiply(f"sqlite:///{path}", 5) == 6
    with closing(sqlite3.connect(path)) as store:
        parents = dict(store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall())
        names = dict(store.execute("SELECT run_uuid, value FROM tags WHERE key = 'lmc.cell'").fetchall())
        runs = dict(store.execute("SELECT run_uuid, name FROM runs").fetchall())
        outputs = store.execute("SELECT source_id, destination_id FROM inputs").fetchall()
        prints = store.execute("SELECT count(DISTINCT value) FROM tags WHERE key = 'lmc.fingerprint'").fetchone()
    assert len(parents) == 3 and prints == (3,)
    assert all(runs[parent] == "cell" and names[parent] == names[run] for run, parent in parents.items())
    assert len(set(names.values())) == 3
    assert {run for run, _ in outputs} == set(parents) and {model for _, model in outputs} == {"m-1"}
