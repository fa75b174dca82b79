from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import contents
from publishers import recorded, tar_gz

from lmc_repro.common.errors import LmcError
from lmc_repro.config.catalog import DatasetInfo, dataset_info
from lmc_repro.data.acquire import Unavailable, fetch


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def refused(info: DatasetInfo, raw: Path, mirror: Path | None) -> str:
    """Return the one line of a mistake; that a data set cannot be had is none."""
    with pytest.raises(LmcError) as caught:
        fetch(info, raw, mirror)
    assert not isinstance(caught.value, Unavailable) and "\n" not in str(caught.value)
    return str(caught.value)


def served(info: DatasetInfo, folder: Path) -> DatasetInfo:
    """The same data set with two addresses per file: the first leads nowhere, the second into `folder`."""
    files = tuple(replace(file, urls=(*file.urls, (folder / file.name).as_uri())) for file in info.files)
    return replace(info, files=files)


def test_embedded_data_need_nothing(tmp_path: Path) -> None:
    fetch(dataset_info("digits"), tmp_path / "raw", tmp_path / "no mirror")
    assert not (tmp_path / "raw").exists()


def test_the_mirror_is_copied_and_what_it_lacks_is_downloaded(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    raw, web, lacking = tmp_path / "raw", tmp_path / "web", tiny.files[2]
    shutil.copytree(mirror / tiny.folder, web)
    (mirror / tiny.folder / lacking.name).unlink()
    seen: list[tuple[str, int, int]] = []
    fetch(served(tiny, web), raw, mirror, lambda *progress: seen.append(progress))
    assert contents(raw / tiny.folder) == contents(web)
    assert seen == [(lacking.name, lacking.size, lacking.size)]
    shutil.rmtree(mirror)
    fetch(tiny, raw, None)  # needs neither any more


def test_nowhere_to_be_had(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        fetch(tiny, tmp_path / "raw", None)
    message = str(caught.value)
    assert "Tiny/raw/train-images-idx3-ubyte.gz" in message and "LMC_DATA_MIRROR" in message and "\n" not in message
    assert contents(tmp_path / "raw" / tiny.folder) == {}
    assert str(tmp_path / "not-there") in refused(tiny, tmp_path / "raw", tmp_path / "not-there")


@pytest.mark.parametrize("place", ["raw", "mirror", "web"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped"])
def test_wrong_content_is_refused(tiny: DatasetInfo, mirror: Path, tmp_path: Path, place: str, damage: str) -> None:
    raw, web, file = tmp_path / "raw", tmp_path / "web", tiny.files[1]
    folder = {"raw": raw / tiny.folder, "mirror": mirror / tiny.folder, "web": web}[place]
    if place != "mirror":
        shutil.copytree(mirror / tiny.folder, folder)
    good = (folder / file.name).read_bytes()
    bad = {"truncated": good[:-1], "emptied": b"", "flipped": good[:-1] + bytes([good[-1] ^ 1])}[damage]
    (folder / file.name).write_bytes(bad)
    line = refused(served(tiny, web), raw, mirror if place == "mirror" else None)
    expected = ["sha256", file.checksum] if damage == "flipped" else [f"{len(bad)} bytes", str(len(good))]
    assert all(part in line for part in [file.name, *expected]), line
    # What came before is complete, what failed is not there, and nothing is left half-written.
    whole = {file.name for file in tiny.files} if place == "raw" else {tiny.files[0].name}
    assert set(contents(raw / tiny.folder)) == whole


@pytest.fixture
def packed(tiny: DatasetInfo, mirror: Path) -> DatasetInfo:
    """The same data in an archive alone, beside members that nobody wants; its address leads to it."""
    names = [f"{tiny.folder}/{file.name}" for file in tiny.files]
    members = [(tarfile.TarInfo(name), (mirror / name).read_bytes()) for name in names]
    link = link_to(f"{tiny.folder}/link")
    out = ("../evil", "/tmp/lmc-evil", f"{tiny.folder}/../../evil", "readme")
    odd = [(tarfile.TarInfo(name), b"evil") for name in out]
    archive = tar_gz(mirror / "tiny.tar.gz", [*odd, (link, b""), *members, *odd])
    shutil.rmtree(mirror / "Tiny")
    return replace(tiny, archive=recorded(archive, urls=(archive.as_uri(),)))


@pytest.mark.parametrize("place", ["raw", "mirror", "web"])
def test_archive_gives_the_wanted_files_and_nothing_else(
    packed: DatasetInfo, mirror: Path, tmp_path: Path, place: str
) -> None:
    raw = tmp_path / "deep" / "raw"
    raw.mkdir(parents=True)
    if place == "raw":
        shutil.copy(mirror / "tiny.tar.gz", raw)
    seen: list[tuple[str, int, int]] = []
    fetch(packed, raw, mirror if place == "mirror" else None, lambda *progress: seen.append(progress))
    files = {f"raw/{packed.folder}/{file.name}" for file in packed.files}
    assert below(tmp_path / "deep") == files | (set() if place == "mirror" else {"raw/tiny.tar.gz"})
    assert not Path("/tmp/lmc-evil").exists()
    assert bool(seen) == (place == "web")


def test_an_archive_that_is_nowhere(packed: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    (mirror / "tiny.tar.gz").unlink()
    with pytest.raises(Unavailable, match=r"Tiny/raw/ or tiny.tar.gz$"):
        fetch(packed, tmp_path / "raw", mirror)


def link_to(name: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return link


FIRST = "Tiny/raw/train-images-idx3-ubyte.gz"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "truncated or no .tar.gz"),
    "text": (lambda path: path.write_bytes(b"no archive at all"), "truncated or no .tar.gz"),
    "link": (lambda path: tar_gz(path, [(link_to(FIRST), b"")]), f"{FIRST} is no regular file"),
    "other content": (lambda path: tar_gz(path, [(tarfile.TarInfo(FIRST), b"other")]), f"{FIRST}: 5 bytes, expected"),
    "without the files": (lambda path: tar_gz(path, [(tarfile.TarInfo("x"), b"x")]), f"holds no {FIRST}, "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_archives(packed: DatasetInfo, mirror: Path, tmp_path: Path, damage: str) -> None:
    path, raw = mirror / "tiny.tar.gz", tmp_path / "raw"
    harm, told = DAMAGES[damage]
    harm(path)
    assert all(part in refused(packed, raw, mirror) for part in (f"{path}: ", "expected"))
    # The same archive with its checksum recorded: the reader has to notice by itself.
    line = refused(replace(packed, archive=recorded(path)), raw, mirror)
    assert str(path) in line and told in line
    assert below(raw) == set()
