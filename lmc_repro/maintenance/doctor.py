"""`lmc doctor`: packages, torch, system, data sets and store, each examined by a function that changes nothing.

Every check imports what it needs by itself, so that a missing package spoils only its own lines.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lmc_repro.common.errors import LmcError
from lmc_repro.common.project import Project, find_project, missing_git
from lmc_repro.common.words import counted
from lmc_repro.maintenance import probe

if TYPE_CHECKING:
    from lmc_repro.config.catalog import DatasetInfo
    from lmc_repro.config.params import Params
    from lmc_repro.tracking.views import RunningRun

PACKAGE = "lmc_repro"
LOW_DISK = 2e9
"""Bytes; an environment or a study of the paper's profile needs more."""

State = Literal["ok", "info", "warning", "missing"]
LABELS: dict[State, str] = {"ok": "ok", "info": "-", "warning": "WARN", "missing": "MISSING"}


@dataclass(frozen=True)
class Finding:
    """One line of the answer.

    `missing`: the project cannot work without it. `warning`: something to fix. `info`: only how things are. `fix` is
    a command, `install` has one per package manager.
    """

    section: str
    name: str
    state: State
    detail: str
    fix: str | None = None
    install: Mapping[str, str] = field(default_factory=dict)


def examine(fix_runs: bool = False) -> list[Finding]:
    """Return all findings; never raises. Libraries are imported in processes of their own meanwhile.

    Args:
        fix_runs: End the runs of the store that count as RUNNING though their process is gone.
    """
    project, params, about = _project()
    root, profile = project.root if project else None, params.profiles[params.profile] if params else None
    torch, ffcv = probe.start("torch", profile.numerics if profile else "native"), probe.start("ffcv")
    installed = _guarded("python", check_packages, root)
    if project is not None:
        free = shutil.disk_usage(project.root).free
        about.append(Finding("project", "disk", "warning" if free < LOW_DISK else "ok", f"{free / 1e9:.1f} GB free"))
        about += _guarded("data", check_data, project, params, profile.datasets if profile else ())
    about += _guarded("cluster", check_cluster, params)
    about += _guarded("store", check_store, project.home if project else Path.cwd(), fix_runs)
    of_torch, of_ffcv = probe.answer(torch), probe.answer(ffcv)
    installed += _guarded("python", check_torch, of_torch, root)
    installed += _guarded("python", check_ffcv, of_ffcv, root, params)
    installed += _guarded("system", check_system, all((f.name, f.state) != ("ffcv", "missing") for f in installed))
    once: dict[tuple[str, str], Finding] = {}
    for finding in installed:  # a package that is not installed cannot be imported either: one line
        once.setdefault((finding.section, finding.name), finding)
    return [*once.values(), *about]


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the findings by section, each with its fix, and the answer."""
    managers = [name for name in COMMANDS if shutil.which("apt-get" if name == "apt" else name)] or list(COMMANDS)
    for section in dict.fromkeys(finding.section for finding in findings):
        yield section
        for finding in (f for f in findings if f.section == section):
            yield f"  {LABELS[finding.state]:7} {finding.name}: {finding.detail}"
            commands = [f"{name}: {finding.install[name]}" for name in managers if name in finding.install]
            fixes = (finding.fix, *(commands if finding.state != "info" else ()))
            yield from (f"          -> {fix}" for fix in fixes if fix)
    missing, warnings = (sum(f.state == state for f in findings) for state in ("missing", "warning"))
    yield f"{missing} missing, {warnings} to fix" if missing or warnings else "all that is needed is here"


def _guarded(section: str, check: Callable[..., Iterable[Finding]], *arguments: Any) -> list[Finding]:
    try:
        return list(check(*arguments))
    except Exception as error:  # any error in a check is its finding
        return [Finding(section, "check", "warning", f"could not be made: {_line(error)}")]


def _of_error(section: str, name: str, state: State, error: LmcError) -> Finding:
    line, _, fix = str(error).rpartition("; ")
    return Finding(section, name, state, line or fix, fix if line else None)


def _line(error: Exception) -> str:
    text = str(error) if isinstance(error, LmcError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def _project() -> tuple[Project | None, Params | None, list[Finding]]:
    try:
        project = find_project()
    except LmcError as error:
        return None, None, [_of_error("project", "place", "missing", error)]
    findings = [Finding("project", "place", "ok", str(project.root))]
    if remark := missing_git(project):
        line, _, fix = remark.partition("; ")
        findings.append(Finding("project", "git", "warning", line, fix))
    try:
        from lmc_repro.config.expand import validate_all
        from lmc_repro.config.load import load_params

        params = load_params(project.params)
        validate_all(params)
    except Exception as error:  # a user's mistake, or a package that is not there
        return project, None, [*findings, Finding("project", "params.yaml", "missing", _line(error))]
    detail = f"valid, profile {params.profile}, studies: {', '.join(params.studies)}"
    return project, params, [*findings, Finding("project", "params.yaml", "ok", detail)]


def check_packages(root: Path | None) -> Iterator[Finding]:
    """Yield the interpreter, and every package of pyproject.toml that is missing or of another version."""
    finding, install = partial(Finding, "python"), _install(root)
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet
    except ImportError:
        yield finding("packaging", "missing", "not installed; other packages were not examined", install)
        return
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"] if root else {}
    except (OSError, ValueError, KeyError):
        project = {}
    if project.get("name") == PACKAGE:
        pythons, lines = project["requires-python"], project["dependencies"]
    else:
        pythons, lines = metadata.metadata(PACKAGE)["Requires-Python"] or "", metadata.requires(PACKAGE) or []
    version, others = platform.python_version(), 0
    if SpecifierSet(pythons).contains(version, prereleases=True):
        yield finding("python", "ok", f"{version}, {sys.executable}")
    else:
        yield finding("python", "missing", f"{version}, needed: {pythons}", "make setup PYTHON=/path/to/python3")
    for needed in map(Requirement, lines):
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            yield finding(needed.name, "missing", f"not installed, needed: {needed.specifier or 'any'}", install)
            continue
        if not needed.specifier.contains(found, prereleases=True):
            yield finding(needed.name, "warning", f"{found}, needed: {needed.specifier}", install)
        elif needed.name in ("mlflow", "dvc"):
            yield finding(needed.name, "ok", found)
        else:
            others += 1
    yield finding("other packages", "ok", f"{others} as needed")


def _install(root: Path | None) -> str:
    if root and (root / "Makefile").is_file() and Path(sys.prefix).resolve() == (root / ".venv").resolve():
        return "make setup"
    python = sys.executable if " " not in sys.executable else f'"{sys.executable}"'
    if root and (root / "constraints.txt").is_file():
        return f"{python} -m pip install -c constraints.txt -e '.[ffcv]'"
    return f"{python} -m pip install '{PACKAGE}[ffcv]'"


def check_torch(found: dict[str, Any], root: Path | None) -> Iterator[Finding]:
    """Yield the answer of torch's probe: version, CPU, GPU, and the numerics mode that runs would have."""
    finding = partial(Finding, "python")
    if error := found.get("error"):
        yield finding("torch", "missing", f"cannot be imported: {error}", _install(root))
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"{found['version']}, {found['capability']}, {found['threads']} threads by default, {cores} cores"
    yield finding("torch", "ok", cpu)
    if found["gpus"]:
        yield finding("GPU", "ok", "; ".join(found["gpus"]))
    elif shutil.which("nvidia-smi"):
        build = f"CUDA {found['cuda_build']}" if found["cuda_build"] else "CPUs"
        yield finding("GPU", "warning", f"nvidia-smi is here, but torch sees no GPU; this torch is built for {build}")
    else:
        yield finding("GPU", "info", "none; everything runs on the CPU")
    remark = f": {found['remark'].removeprefix('numerics: native, ')}" if found["remark"] else ""
    yield finding("numerics", "ok", f"{found['mode']} (runs are tagged {found['tag']}){remark}")


def check_ffcv(found: dict[str, Any], root: Path | None, params: Params | None = None) -> Iterator[Finding]:
    """Yield whether ffcv can be loaded: it is compiled on installation, and its libraries may be gone since.

    It is an extra: where it is not installed, only a study of the active profile with `loader: ffcv` needs it.
    """
    from lmc_repro.config.expand import validate_all
    from lmc_repro.data.status import ffcv_installed

    error = found.get("error")
    if not ffcv_installed() and not any(
        cell.loader == "ffcv" for plan in (validate_all(params) if params else ()) for cell in plan.cells
    ):
        detail = "not installed, not needed: no study has `loader: ffcv`, and `resident` has the same bits"
        yield Finding("python", "ffcv", "info", detail)
    elif error:
        detail = f"cannot be loaded: {error}; it is compiled against the system packages below"
        yield Finding("python", "ffcv", "missing", detail, _install(root))
    else:
        yield Finding("python", "ffcv", "ok", f"{found['version']}, its compiled library loads")


COMMANDS = {
    "apt": "sudo apt-get install -y {}",
    "dnf": "sudo dnf install -y {}",
    "brew": "brew install {}",
    "conda": "conda install -y -c conda-forge {}",
}


class Need(NamedTuple):
    """A system package; `packages` has a name for each of `COMMANDS`, separated by spaces, or one for all."""

    name: str
    purpose: str
    find: Callable[[], str | None]
    packages: str
    builds_ffcv: bool = True


def _program(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _library(name: str) -> str | None:
    if not shutil.which("pkg-config"):
        return None
    asked = subprocess.run(["pkg-config", "--modversion", name], capture_output=True, text=True, timeout=20)
    return asked.stdout.strip() if asked.returncode == 0 else None


def _headers() -> str | None:
    path = Path(sysconfig.get_path("include")) / "Python.h"
    return str(path) if path.is_file() else None


_MINOR = f"3.{sys.version_info.minor}"
_PYTHON = f"python{_MINOR}-dev python{_MINOR}-devel python@{_MINOR} python"
_CXX, _PKG = "build-essential gcc-c++ llvm cxx-compiler", "pkg-config pkgconf-pkg-config pkgconf pkg-config"
_FFCV, _JPEG = "building ffcv", "libturbojpeg0-dev turbojpeg-devel jpeg-turbo libjpeg-turbo"
NEEDS = (
    Need("git", "DVC's experiments and the commit of each run", partial(_program, "git"), "git", False),
    Need("make", "`make repro`; `dvc repro` does without", partial(_program, "make"), "make", False),
    Need("C++ compiler", _FFCV, partial(_program, "c++", "g++", "clang++"), _CXX),
    Need("pkg-config", _FFCV, partial(_program, "pkg-config"), _PKG),
    Need("Python.h", _FFCV, _headers, _PYTHON),
    Need("opencv4", _FFCV, partial(_library, "opencv4"), "libopencv-dev opencv-devel opencv opencv"),
    Need("libturbojpeg", _FFCV, partial(_library, "libturbojpeg"), _JPEG),
)


def check_system(ffcv_works: bool) -> Iterator[Finding]:
    """Yield a finding per need; what only builds ffcv is not missing where ffcv works or nothing needs it."""
    for need in NEEDS:
        if there := need.find():
            yield Finding("system", need.name, "ok", there)
            continue
        missing = need.builds_ffcv and not ffcv_works
        packages = need.packages.split()
        names = packages if len(packages) > 1 else packages * len(COMMANDS)
        install = {m: command.format(name) for (m, command), name in zip(COMMANDS.items(), names, strict=True)}
        detail = f"not found; for {need.purpose}"
        yield Finding("system", need.name, "missing" if missing else "info", detail, install=install)


def check_data(project: Project, params: Params | None, used: tuple[str, ...]) -> Iterator[Finding]:
    """Yield the mirror and a finding per data set: where it lies; `used` are those of the active profile."""
    from lmc_repro.config.catalog import CATALOG, dataset_info
    from lmc_repro.config.own_code import is_own
    from lmc_repro.pipeline.workspace import mirror_of

    mirror = mirror_of(params) if params else None
    if mirror is not None and mirror.is_dir():
        yield Finding("data", "mirror", "ok", str(mirror))
    elif mirror is not None:
        fix = "set LMC_DATA_MIRROR (or data.mirror in params.yaml) to a folder that exists, or unset it"
        yield Finding("data", "mirror", "warning", f"{mirror}: no such folder", fix)
    for info in (*CATALOG.values(), *(dataset_info(name) for name in used if is_own(name))):
        yield _data_set(project, mirror, info, info.name in used)


def _data_set(project: Project, mirror: Path | None, info: DatasetInfo, used: bool) -> Finding:
    from lmc_repro.data.status import folder_of, read_status

    finding, prepare = partial(Finding, "data", info.name), f"lmc prepare {info.name}"
    sources = _sources(project, mirror, info)
    for folder in (project.prepared, project.working / "prepared"):
        try:
            status = read_status(folder, info.name)
        except LmcError as error:
            return finding("warning", str(error), prepare)
        if status is None or status["state"] != "ready":
            continue
        place, digest = folder_of(folder, info.name), str(status.get("digest"))
        if absent := [name for name in status.get("files", {}) if not (place / name).is_file()]:
            return finding("warning", f"{place}: without {', '.join(absent)}", prepare)
        if info.digest and digest != info.digest:
            return finding("warning", f"{place}: digest {digest[:12]}, not {info.digest[:12]}", prepare)
        return finding("ok", "; ".join([f"prepared in {place}, digest {digest[:12]}", *sources]))
    download = ": it is downloaded when it is needed" if info.files or info.archive else ""
    where = "; ".join(sources) or f"not on this machine{download}"
    wanted = f", used by the active profile: `{prepare}` or `dvc repro` makes it" if used else ""
    return finding("info", f"not prepared{wanted}; {where}")


def _sources(project: Project, mirror: Path | None, info: DatasetInfo) -> list[str]:
    """Return where the publisher's files, folder or archive are, by name and size."""

    def fits(path: Path, size: int) -> bool:
        return path.exists() and size in (0, path.stat().st_size)

    found = []
    for title, root in (("raw", project.raw), ("mirror", mirror)):
        if root is None or info.embedded:
            continue
        place = root / info.folder
        if there := sum(fits(place / file.name, file.size) for file in info.files):
            found.append(f"{title}: {there} of {len(info.files)} files in {place}")
        elif not info.files and place.exists():
            found.append(f"{title}: {place}")
        if info.archive and fits(root / info.archive.name, info.archive.size):
            found.append(f"{title}: {root / info.archive.name}")
    return ["an installed package holds it"] if info.embedded else found


def check_cluster(params: Params | None) -> Iterator[Finding]:
    """Yield the token and the machines of the cluster that LMC_ENGINE=ray chooses; nothing where it does not."""
    from lmc_repro.engine.cluster import chosen_cluster, has_token

    finding = partial(Finding, "cluster")
    try:
        if (cluster := chosen_cluster()) is None:
            return
        if has_token():
            yield finding("token", "ok", "set")
        else:
            fix = "start Ray, and commands, with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            yield finding("token", "warning", "not set: whoever reaches the cluster runs code on it", fix)
        from lmc_repro.common.numerics import choose_mode
        from lmc_repro.engine.machines import Machines

        choose_mode(params.profiles[params.profile].numerics if params else "portable")
        machines = Machines(cluster, "cpu")
        answers = machines.identities()
    except LmcError as error:
        yield _of_error("cluster", "place", "warning", error)
        return
    yield finding("place", "ok", f"{cluster.address}: {counted(len(answers), 'machine')}")
    for name, answer in answers.items():
        try:
            said = machines.require_one(name, answer)
        except LmcError as error:
            line, _, fix = str(error).removeprefix(f"{name}: ").partition("; ")
            yield finding(name, "warning", line, fix)
            continue
        yield finding(name, "ok", ", ".join(f"{key} {value}" for key, value in said.items()))


def check_store(root: Path, fix_runs: bool) -> Iterator[Finding]:
    """Yield the store's place, its experiments and the runs that count as RUNNING; `fix_runs` ends the stale ones."""
    from lmc_repro.tracking.health import facts
    from lmc_repro.tracking.store import database_path, require_in_place, tracking_uri, without_password
    from lmc_repro.tracking.views import end_stale, survey

    finding = partial(Finding, "store")
    states: dict[bool | None, State] = {True: "ok", False: "warning", None: "info"}
    try:
        uri = tracking_uri(root)
        if (found := survey(uri)) is None:
            yield finding("place", "info", f"{database_path(uri)}: not there yet, the first run makes it")
            return
        ended = end_stale(uri, found) if fix_runs and found.stale else []
        shared = [finding(name, states[good], detail, fix) for name, good, detail, fix in facts(uri, write=True)]
    except LmcError as error:
        yield _of_error("store", "place", "warning", error)
        return
    yield finding("place", "ok", without_password(uri))
    yield from shared
    filled = {name: kinds for name, kinds in found.experiments.items() if kinds}
    yield from (finding(name, "ok", f"runs: {_counts(kinds)}") for name, kinds in filled.items())
    if not filled:
        yield finding("experiments", "info", "no runs yet")
    try:
        require_in_place(root, uri)
    except LmcError as error:
        line, _, fix = str(error).rpartition("; ")
        yield finding("artifacts", "warning", line, fix.strip("`"))
    titles: tuple[tuple[bool | None, str, State, str, str | None], ...] = (
        (True, "stale runs", "warning", "count as RUNNING, but their process is gone", "lmc doctor --fix-runs"),
        (False, "running", "ok", "of processes that live", None),
        (None, "running", "info", "of processes that cannot be seen from here", None),
    )
    for gone, name, state, detail, command in titles:
        runs = [run for run in found.running if run.gone is gone]
        if runs and gone and ended:
            yield finding(name, "ok", f"ended {len(ended)}: {_listed(runs)}")
        elif runs:
            yield finding(name, state, f"{len(runs)} {detail}: {_listed(runs)}", command)


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _listed(runs: Sequence[RunningRun]) -> str:
    """Return how many runs there are of each kind, and the first three by name and id."""
    listed = [f"{run.name} {run.run_id}" for run in runs]
    more = f", and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"{_counts(Counter(run.kind for run in runs))} ({', '.join(listed[:3])}{more})"
