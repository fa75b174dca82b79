"""The machines of a Ray cluster: connecting to it, who they are, and whether they compute the same bits as this one."""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray import exceptions as lost
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import mode_variables
from lmc_repro.engine import remote
from lmc_repro.engine.cluster import Cluster
from lmc_repro.engine.local import WORKER_ENVIRONMENT
from lmc_repro.engine.remote import Identity, identity

ANSWER_SECONDS = 60.0
"""The time that a machine has to say what it is: its first process imports torch."""
LOOK_SECONDS = 1.0
"""How often the cluster is asked for its machines."""

GONE = (lost.NodeDiedError, lost.LocalRayletDiedError, lost.ObjectLostError)
"""Errors of a task whose machine is lost."""

Answer = tuple[Identity, bool] | str
"""A machine's identity and whether it asks for a token; or why it says nothing."""


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster that computes; `memory` in bytes."""

    id: str
    name: str
    cpus: int
    memory: float
    gpus: int = 0


class Machines:
    """The machines of a cluster that computes on `device`; this process connects to it."""

    def __init__(self, cluster: Cluster, device: str) -> None:
        self.cluster, self.device, self.needed = cluster, device, identity(device)
        self._found, self._looked = tuple[Machine, ...](), float("-inf")
        self._alone_since: float | None = None
        connect(cluster)

    def alive(self) -> tuple[Machine, ...]:
        """Return the machines that live and compute, with a GPU where that is needed."""
        if time.monotonic() > self._looked + LOOK_SECONDS:
            needed = ("CPU", "GPU") if self.device == "cuda" else ("CPU",)
            self._found = tuple(
                Machine(
                    node["NodeID"],
                    f"{node['NodeManagerHostname']} (node {node['NodeID'][:8]})",
                    int(node["Resources"]["CPU"]),
                    node["Resources"].get("memory", 0.0),
                    int(node["Resources"].get("GPU", 0)),
                )
                for node in ray.nodes()
                if node["Alive"] and all(node["Resources"].get(kind, 0) >= 1 for kind in needed)
            )
            self._looked = time.monotonic()
        return self._found

    def identities(self) -> dict[str, Answer]:
        """Return each machine's answer by name; machines that go away meanwhile have none."""
        answers: dict[str, Answer] = {}
        machines = list(self.alive())
        for again in (True, False):
            asked = [(machine, self._ask(machine)) for machine in machines]
            if asked:
                ray.wait([answer for _, answer in asked], num_returns=len(asked), timeout=ANSWER_SECONDS)
            machines = []
            for machine, answer in asked:
                try:
                    answers[machine.name] = ray.get(answer, timeout=0)
                except (*GONE, lost.TaskUnschedulableError):
                    continue
                except Exception as error:  # whatever it is, that machine cannot be used
                    if again and isinstance(error, lost.WorkerCrashedError):
                        machines.append(machine)
                    else:
                        answers[machine.name] = line(error)
        return answers

    def _ask(self, machine: Machine) -> Any:
        there = NodeAffinitySchedulingStrategy(machine.id, soft=False)
        some = {"num_cpus": 0, "num_gpus": 0.01 if self.device == "cuda" else 0}
        return submitted(remote.probe, **some, scheduling_strategy=there).remote(self.device)

    def require_same(self) -> None:
        """Raise LmcError for the first machine that `require_one` refuses."""
        for name, answer in self.identities().items():
            self.require_one(name, answer)

    def require_one(self, name: str, answer: Answer) -> Identity:
        """Return a machine's identity; LmcError if it does not answer, asks for no token, or may have other bits."""
        if isinstance(answer, str):
            raise LmcError(f"{name}: does not answer ({answer}); is this version of lmc_repro installed there?")
        found, token = answer
        if not token and not self.cluster.insecure:
            raise LmcError(f"{name}: asks for no token; start Ray there with RAY_AUTH_MODE=token, or give --insecure")
        remote.require_same(name, found, self.needed)
        return found

    def wait_for(self, needs: Iterable[float], say: Callable[[str], None]) -> None:
        """Say once that no machine can take what waits (bytes of memory); LmcError after the cluster's minutes."""
        machines, now = self.alive(), time.monotonic()
        if all(any(machine.memory >= need for machine in machines) for need in needs):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
            say(f"{self.cluster.address}: no machine is left that can go on; waiting {self.cluster.wait:g} minutes")
        elif now > self._alone_since + 60 * self.cluster.wait:
            raise LmcError(f"{self.cluster.address}: no machine for {self.cluster.wait:g} minutes; run again to go on")


def connect(cluster: Cluster) -> None:
    """Connect this process to a cluster, once; LmcError if none answers, or it refuses our token."""
    cluster.require_token()
    if ray.is_initialized():
        return
    host, _, port = cluster.address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise LmcError(f"{cluster.address}: no cluster answers ({error}); start one: `ray start --head`") from None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=cluster.address,
            runtime_env={"env_vars": WORKER_ENVIRONMENT | mode_variables()},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        raise LmcError(f"{cluster.address}: cannot be used: {line(error)}") from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray's would end this process before its states are saved


def submitted(function: Callable[..., Any], **how: Any) -> Any:
    """Return a function as one to be called on the cluster, and never a second time by Ray itself."""
    return _remote(function).options(max_retries=0, **how)


@cache
def _remote(function: Callable[..., Any]) -> Any:
    """Return a function of Ray's, one per function: it travels once, not with every call."""
    return ray.remote(function)


def line(error: BaseException) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
