"""A process that has everything imported and forks one child for each command: twenty studies in place of imports.

It reads one JSON object a line: `{"root", "argv", "log", ...}` starts `lmc ARGV` in the folder ROOT and answers with
its pid; `{"wait": pid}` answers with its exit code (negative: the signal), `{"poll": pid}` with null while it runs.
The child is the leader of a process group of its own; what it prints goes to ROOT/LOG.

The children differ from `lmc` in how long things take and in nothing that is tested: workers are forked from this
process, epochs may be slow, and every epoch is saved and shown in MLflow, as it is where epochs take seconds. tests/e2e
runs the commands as they are.
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import math
import multiprocessing
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

import lmc_repro
from lmc_repro.common.numerics import choose_mode, use_one_thread

OF_OTHERS = (
    "alembic.command", "email.policy", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
    "mlflow.store.tracking.sqlalchemy_workspace_store", "rich.console", "rich.table", "ruamel.yaml",
    "sqlalchemy.dialects.sqlite", "PIL.PngImagePlugin", "sklearn.datasets",
)  # fmt: skip
CLUSTER = ("lmc_repro.engine.machines", "lmc_repro.engine.ray")
"""Modules that need an extra, and start threads."""


def preload() -> None:
    """Import what the commands use; nothing here starts a thread or computes."""
    choose_mode("portable")  # before anything imports torch
    use_one_thread()
    from lmc_repro.tracking.store import import_mlflow

    import_mlflow("sqlite:///")
    from matplotlib.figure import Figure

    for name in OF_OTHERS:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(lmc_repro.__path__, "lmc_repro."):
        if module.name not in CLUSTER:
            importlib.import_module(module.name)
    lmc_repro.data.beton.import_ffcv()  # for `lmc prepare`
    for kind in ("png", "svg"):  # the first figure of a process imports fonts and more
        Figure().savefig(io.BytesIO(), format=kind)
    lmc_repro.config.reported.reported_tables()


def child(order: dict[str, Any]) -> int:
    """Run the command as `lmc` would, but for the times: see above."""
    from lmc_repro.cli import main
    from lmc_repro.engine import local
    from lmc_repro.tracking import Tracker
    from lmc_repro.training import steps, trainer

    os.chdir(order["root"])
    for name in [name for name in os.environ if name.startswith("MLFLOW_TRACKING")]:
        del os.environ[name]
    os.environ.update(order.get("env", {}))
    printed = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(printed, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    local.worker_context = lambda: multiprocessing.get_context("fork")  # no thread has been started in this process
    trainer.SAVE_EVERY_SECONDS, trainer.SAVING_SHARE = -1.0, math.inf
    Tracker.sync_live.__defaults__ = (0.0,)
    if size := order.get("file_bytes"):  # no file grows beyond it, as on a file system that is full
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if seconds := order.get("slow"):  # something can happen within a training
        train = trainer._Training._train_epoch
        trainer._Training._train_epoch = lambda training: (time.sleep(seconds), train(training))
    if workers := order.get("workers"):
        steps.open_loader = functools.partial(steps.open_loader, workers=workers)
    sys.argv = ["lmc", *order["argv"]]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def fork(order: dict[str, Any]) -> int:
    """Start the command in a child, leader of a group, and return its pid."""
    if (pid := os.fork()) == 0:
        code = 70
        try:
            os.setpgid(0, 0)
            code = child(order)
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(code)
    with suppress(OSError):  # in both, so that it is done whoever comes first
        os.setpgid(pid, pid)
    return pid


def answer(order: dict[str, Any]) -> Any:
    if "wait" in order:
        return os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
    if "poll" in order:
        pid, status = os.waitpid(order["poll"], os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    return fork(order)


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    preload()
    replies.write(json.dumps("ready") + "\n")
    for line in sys.stdin:
        replies.write(json.dumps(answer(json.loads(line))) + "\n")
