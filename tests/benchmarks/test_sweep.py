"""The simulated sweep: times, shares and queues that can be worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks import growth


def test_a_sweep_waits_for_its_slowest_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "NODES", 10)
    monkeypatch.setattr(growth, "NODE_HOURS", 1e9)
    found = growth.sweep(letter=0.01, mb=2.0, publish=42.0, last_alone=True, runs=100)
    trained = 3600 * found["trained_hours"]
    assert 0.95 * 2100 < trained < 1.05 * 2100  # ten runs a node, of 210 s within 10 %
    assert found["home_hours"] == pytest.approx(found["trained_hours"], rel=0.02)
    assert 3600 * found["published_hours"] == pytest.approx(4200 + 210, rel=0.05)  # after the first run
    assert found["publishing_load"] == pytest.approx(4200 / trained)
    assert found["results_load"] == pytest.approx(100 * 1.6 * 2.0 / trained)
    assert found["letters_load"] == pytest.approx(100 * (210 + 3.5) * 0.01 / trained)
    assert 45 < found["publishing_queue"] < 60  # one comes in 21 s, one goes in 42
    assert found["nodes_lost"] == 0


def test_runs_of_lost_nodes_are_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "NODES", 10)
    monkeypatch.setattr(growth, "NODE_HOURS", 0.2)
    found = growth.sweep(letter=0.001, mb=0.001, publish=0.001, last_alone=False, runs=100)
    assert found["nodes_lost"] > 10
    assert 3600 * found["trained_hours"] > 1.05 * 2100
