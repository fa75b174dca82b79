"""Where each data set lies: prepared, as the publisher's files, in a mirror."""

from __future__ import annotations

from pathlib import Path

from lmc_repro.data.catalog import CATALOG, DatasetInfo
from lmc_repro.data.remote import RemoteFile
from lmc_repro.data.status import read_status
from lmc_repro.doctor.finding import Finding
from lmc_repro.errors import LmcError
from lmc_repro.project import Project

SECTION = "data"


def check_datasets(project: Project, mirror: Path | None, used: tuple[str, ...]) -> list[Finding]:
    """Return a finding for each data set; `used` are those of the active profile."""
    findings = []
    if mirror is not None and not mirror.is_dir():
        fix = "set LMC_DATA_MIRROR (or data.mirror in params.yaml) to a folder that exists, or unset it"
        findings.append(Finding(SECTION, "mirror", "warning", f"{mirror}: no such folder", fix))
    elif mirror is not None:
        findings.append(Finding(SECTION, "mirror", "ok", str(mirror)))
    return findings + [_check(project, mirror, info, info.name in used) for info in CATALOG.values()]


def _check(project: Project, mirror: Path | None, info: DatasetInfo, used: bool) -> Finding:
    name = info.name
    prepare = f"lmc prepare {name}"
    sources = _sources(project, mirror, info)
    for folder in (project.prepared, project.working / "prepared"):
        try:
            status = read_status(folder, name)
        except LmcError as error:
            return Finding(SECTION, name, "warning", str(error), prepare)
        if status is None or status["state"] != "ready":
            continue
        place = folder / name
        absent = [f for f in status.get("files", {}) if not (place / f).is_file()]
        if absent:
            return Finding(SECTION, name, "warning", f"{place}: without {', '.join(absent)}", prepare)
        digest = str(status.get("digest"))
        if info.digest and digest != info.digest:
            return Finding(SECTION, name, "warning", f"{place}: digest {digest[:12]}, not {info.digest[:12]}", prepare)
        return Finding(SECTION, name, "ok", "; ".join([f"prepared in {place}, digest {digest[:12]}", *sources]))
    nowhere = "not on this machine"
    if info.files or info.archive:
        nowhere += ": it is downloaded when it is needed"
    where = "; ".join(sources) if sources else nowhere
    wanted = f", used by the active profile: `{prepare}` or `dvc repro` makes it" if used else ""
    return Finding(SECTION, name, "info", f"not prepared{wanted}; {where}")


def _sources(project: Project, mirror: Path | None, info: DatasetInfo) -> list[str]:
    """Return where the publisher's files, folder or archive are, by name and size."""
    if info.embedded:
        return ["an installed package holds it"]
    found = []
    for title, root in (("raw", project.raw), ("mirror", mirror)):
        if root is None:
            continue
        place = root / info.folder
        there = [file for file in info.files if _fits(place / file.name, file)]
        if there:
            found.append(f"{title}: {len(there)} of {len(info.files)} files in {place}")
        elif not info.files and place.exists():
            found.append(f"{title}: {place}")
        if info.archive and _fits(root / info.archive.name, info.archive):
            found.append(f"{title}: {root / info.archive.name}")
    return found


def _fits(path: Path, file: RemoteFile) -> bool:
    size = _size(path)
    return size is not None and file.size in (0, size)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
