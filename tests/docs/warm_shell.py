"""A shell in which `lmc`, `dvc`, `mlflow` and `python -c` are children of one process that has everything imported.

`python warm_shell.py SOCKET` serves them: a program in the shell's PATH sends its words, folder, environment and open
files, a forked child runs the command with them and answers with the exit code. Figures are empty: drawing them takes
longer than all else, and tests/report does it.
"""

from __future__ import annotations

import gc
import io
import json
import multiprocessing
import os
import select
import shutil
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path

PROGRAM = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    order = [[os.path.basename(sys.argv[0]), *sys.argv[1:]], os.getcwd(), dict(os.environ)]
    socket.send_fds(server, [json.dumps(order).encode()], [0, 1, 2])
    sys.exit(int(server.recv(16) or b"70"))
"""
PROGRAMS = ("lmc", "dvc", "mlflow", "python")


class Shell:
    """The process, and the folder of programs that speak to it."""

    def __init__(self, place: Path) -> None:
        self.place, address = place, str(place / "s")
        (place / "bin").mkdir()
        for name in PROGRAMS:
            program = place / "bin" / name
            program.write_text(PROGRAM.format(python=sys.executable, address=address))
            program.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "LMC_"))}
        self.environment = {
            **kept,
            "PATH": f"{place / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(place),  # some commands write there
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "COLUMNS": "160",
        }
        for name in ("AUTHOR", "COMMITTER"):
            self.environment |= {f"GIT_{name}_NAME": "A", f"GIT_{name}_EMAIL": "a@example.org"}
        command = [sys.executable, "-W", "ignore", __file__, address]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}  # it ends when its stdin does
        self.process = subprocess.Popen(command, env=self.environment, start_new_session=True, **pipes)
        assert self.process.stdout is not None and self.process.stdout.readline() == b"ready\n"

    def run(self, script: str, folder: Path) -> tuple[int, str]:
        """Run a script of bash in a folder up to its first failure; return its exit code and what it printed."""
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def end(self) -> None:
        self.process.communicate()
        shutil.rmtree(self.place)


def child(words: list[str]) -> None:
    """Run a command in this process, which was forked for it."""
    from lmc_repro.engine import local

    local.worker_context = lambda: multiprocessing.get_context("fork")  # no thread has been started in this process
    name, *rest = words
    sys.argv = words
    if name == "lmc":
        from lmc_repro.cli import main

        main()
    elif name == "dvc":
        from dvc.cli import main as dvc

        sys.exit(dvc(rest))
    elif name == "mlflow":
        from mlflow.cli import cli

        cli(rest)
    else:
        option, code = rest
        assert option == "-c"
        exec(compile(code, "page", "exec"), {"__name__": "__main__"})


def serve(order: socket.socket) -> int:
    """Run a program's command with its folder, environment and open files; return the exit code."""
    sent, files, _, _ = socket.recv_fds(order, 1 << 20, 3)
    words, folder, environment = json.loads(sent)
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.chdir(folder)
    os.environ.update(environment)
    code = 70
    try:
        child(words)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "faults"))
    from warm import preload

    preload()
    import dvc.cli.parser
    import dvc.repo.reproduce  # noqa: F401
    import mlflow.cli
    import mlflow.projects.backend.local  # noqa: F401
    from matplotlib.figure import Figure

    EMPTY = {kind: io.BytesIO() for kind in ("png", "svg", "pdf")}
    for kind, file in EMPTY.items():
        Figure().savefig(file, format=kind)
    Figure.savefig = lambda _, file, *, format, **more: file.write(EMPTY[format].getvalue())
    gc.freeze()  # children leave the pages of these objects shared
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(sys.argv[1])
        server.listen()
        os.write(1, b"ready\n")
        while server in select.select([server, 0], [], [])[0]:
            order, _ = server.accept()
            if os.fork() == 0:
                server.close()
                code = serve(order)
                order.send(str(code).encode())
                os._exit(code)
            order.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
