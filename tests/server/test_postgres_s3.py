"""MLflow on PostgreSQL and S3, and what goes wrong there: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed, kill
from small import Small

from lmc_repro.tracking.health import facts
from lmc_repro.tracking.server import free_port

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_the_whole_job_of_a_study(server: Deployed, untrained: Small) -> None:
    printed = untrained.run("run", "one", "--jobs", "2", env=server.client)
    assert "trained 4" in printed
    found = server.content()
    assert Counter(kind for kind, *_ in found if kind in ("run", "model")) == {"run": 8, "model": 4}
    assert {status for kind, _, status, *_ in found if kind == "run"} == {"FINISHED"}
    assert max(found.values()) == 1
    assert not (untrained.root / "mlflow.db").exists() and not (untrained.root / "mlartifacts").exists()
    listed = json.loads(untrained.run("list", "one", "--json", env=server.client))
    assert len(listed["cells"]) == 2
    assert "trained 0, reused 4" in untrained.run("run", "one", "--jobs", "2", env=server.client)
    assert server.content() == found
    ((run,), *_) = server.execute("SELECT run_uuid FROM tags WHERE key = 'lmc.kind' AND value = 'train'")
    untrained.run("reproduce", run, env=server.client)  # its weights come from S3


def test_two_clients_at_once(server: Deployed, project: Small, expected: Counter[Any], tmp_path: Path) -> None:
    other = Small(Path(shutil.copytree(project.root, tmp_path / "other")), project.warm)
    clients = (project, other)
    begun = [client.start("publish", "one", env=server.client) for client in clients]
    codes = [client.wait(process) for client, process in zip(clients, begun, strict=True)]
    printed = [client.printed() for client in clients]
    assert codes == [0, 0] and "Traceback" not in "".join(printed), printed
    assert server.content() == expected


def test_a_wrong_password_is_one_line(server: Deployed, project: Small) -> None:
    wrong = {**server.client, "MLFLOW_TRACKING_PASSWORD": "another"}
    for command in (["publish", "one"], ["list", "one"], ["ui", "one"]):
        assert "MLFLOW_TRACKING_PASSWORD" in project.refused(*command, env=wrong)
    assert not any(kind == "run" for kind, *_ in server.content())


@pytest.mark.parametrize("mode", ["full", "expired", "wrong"])
def test_artifacts_that_cannot_be_written(
    mode: str, server: Deployed, project: Small, expected: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.client.items():
        monkeypatch.setenv(name, value)
    server.s3.mode = mode
    assert f"127.0.0.1:{server.port}" in project.refused("publish", "one", env=server.client)
    assert states(server)["artifacts"] is False
    server.s3.mode = "ok"
    project.run("publish", "one", env=server.client)
    assert server.content() == expected
    assert states(server) == {"version": True, "indexes": None, "artifacts": True}


def test_slow_artifacts(server: Deployed, project: Small, expected: Counter[Any]) -> None:
    server.s3.mode = "slow"
    project.run("publish", "one", env=server.client)
    server.s3.mode = "ok"
    assert server.content() == expected


def states(server: Deployed) -> dict[str, bool | None]:
    """Return what the doctor would say of the server, but for the time of a request."""
    found = {fact.name: fact.good for fact in facts(server.client["MLFLOW_TRACKING_URI"], write=True)}
    del found["request"]
    return found


def doctor(project: Small, environment: dict[str, str]) -> dict[str, str]:
    """Return the states of the doctor's lines on the store."""
    project.wait(project.start("doctor", "--json", env=environment))
    findings = json.loads(project.printed())["findings"]
    return {found["name"]: found["state"] for found in findings if found["section"] == "store"}


def test_the_doctor_sees_the_database(server: Deployed, project: Small) -> None:
    """Directly, as on the server's machine; and an index that is gone."""
    address = server.services["MLFLOW_BACKEND_STORE_URI"]
    server.execute("DROP INDEX index_tags_run_uuid")
    (lacking,) = [fact for fact in facts(address) if fact.name == "indexes"]
    assert lacking.good is False and lacking.fix is not None
    server.execute(lacking.fix)
    assert [fact.good for fact in facts(address) if fact.name == "indexes"] == [True]
    found = doctor(project, {"MLFLOW_TRACKING_URI": address})
    assert (found["place"], found["schema"], found["artifacts"]) == ("ok", "ok", "info")
    assert address.split(":")[2].partition("@")[0] not in project.printed()


def test_a_server_that_is_killed_while_a_client_publishes(
    deployed: Deployed, expected: Counter[Any], project: Small
) -> None:
    """Of its own, beside the one of the other tests: on the same database and bucket."""
    deployed.forget()
    second = Deployed(deployed.home / "second", deployed.services, deployed.s3, free_port(0))
    second.home.mkdir()
    deployed.s3.mode, before = "slow", deployed.s3.writes
    with second.serve() as process:
        client = project.start("publish", "one", env=second.client)
        while deployed.s3.writes < before + 3:
            assert not project.ended(client), project.printed()
        kill(process)
        assert project.wait(client) == 2
        assert f"127.0.0.1:{second.port}" in project.refused("publish", "one", env=second.client)
        assert doctor(project, second.client) == {"place": "warning"}
    deployed.s3.mode = "ok"
    project.run("publish", "one", env=deployed.client)
    assert deployed.content() == expected
