"""A Ray cluster of two nodes on this machine, with a token, in folders of its own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lmc_repro.engine.cluster import Cluster

MEMORY = 2 * 10**9


@dataclass
class TwoNodes:
    """A cluster whose head is node 1; node 2 can be killed and is there again for the next test."""

    cluster: Any
    address: str
    environment: dict[str, str]
    second: Any = None

    def add(self, **how: Any) -> Any:
        return self.cluster.add_node(num_cpus=1, memory=MEMORY, **how)

    def complete(self) -> None:
        """Start node 2 where it is missing."""
        if self.second is None:
            self.second = self.add()

    def engine(self, **how: Any) -> Any:
        from lmc_repro.engine.ray import RayEngine

        self.complete()
        self.said: list[str] = []
        return RayEngine(Cluster(self.address, **how), "cpu", self.said.append)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that compute, the mailbox and idle ones included; with an agent its raylet ends."""
        found = []
        for node in (self.cluster.head_node, *([self.second] if self.second else [])):
            with suppress(psutil.NoSuchProcess):
                found += [child for child in _raylet(node).children() if _computes(child)]
        return found

    def kill_second(self) -> None:
        """Kill node 2 and its workers, as a power cut does."""
        raylet = _raylet(self.second)
        doomed = [raylet, *raylet.children(recursive=True)]
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None


def _computes(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        title = "".join(process.cmdline()[:1])
        return title.startswith("ray::") and not title.endswith("Agent")
    return False


def _raylet(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Yield the cluster. Sockets have short names, so its folder is not pytest's."""
    place = Path(tempfile.mkdtemp(prefix="lmc"))
    (place / "tmp").mkdir()
    environment = {
        **{name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")},  # of tests/conftest.py
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(place),
        "TMPDIR": str(place / "tmp"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path[1:]]),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import ray
        from ray.cluster_utils import Cluster as LocalCluster

        head = {"num_cpus": 1, "memory": MEMORY, "include_dashboard": False}
        cluster = LocalCluster(initialize_head=True, head_node_args=head)
        try:
            yield TwoNodes(cluster, cluster.address, environment)
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(place, ignore_errors=True)
