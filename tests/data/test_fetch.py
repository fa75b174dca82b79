from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lmc_repro.data.catalog import DatasetInfo, dataset_info
from lmc_repro.data.fetch import Unavailable, fetch
from lmc_repro.errors import LmcError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def served(info: DatasetInfo, folder: Path) -> DatasetInfo:
    """The same data set with two addresses a file: the first leads nowhere, the second into `folder`."""
    return replace(
        info,
        files=tuple(replace(file, urls=(*file.urls, (folder / file.name).as_uri())) for file in info.files),
    )


def test_embedded_data_need_nothing(tmp_path: Path) -> None:
    fetch(dataset_info("digits"), tmp_path / "raw", tmp_path / "no mirror")
    assert not (tmp_path / "raw").exists()


def test_copies_from_the_mirror_and_then_needs_it_no_more(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    fetch(tiny, raw, mirror)
    assert contents(raw / tiny.folder) == contents(mirror / tiny.folder)
    shutil.rmtree(mirror)
    fetch(tiny, raw, None)


def test_downloads_what_the_mirror_lacks(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(mirror / tiny.folder, web)
    lacking = tiny.files[2].name
    (mirror / tiny.folder / lacking).unlink()
    seen: list[tuple[str, int, int]] = []
    fetch(served(tiny, web), tmp_path / "raw", mirror, lambda *progress: seen.append(progress))
    assert contents(tmp_path / "raw" / tiny.folder) == contents(web)
    assert seen == [(lacking, tiny.files[2].size, tiny.files[2].size)]


def test_nowhere_to_be_had(tiny: DatasetInfo, mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        fetch(tiny, tmp_path / "raw", None)
    message = str(caught.value)
    assert message.startswith("Tiny could not be downloaded (") and "\n" not in message
    assert message.endswith("set LMC_DATA_MIRROR to a folder that holds Tiny/raw/train-images-idx3-ubyte.gz")
    assert contents(tmp_path / "raw" / tiny.folder) == {}


def test_missing_mirror_is_a_mistake(tiny: DatasetInfo, tmp_path: Path) -> None:
    with pytest.raises(LmcError, match=r"not-there: this data mirror is no folder; mend LMC_DATA_MIRROR") as caught:
        fetch(tiny, tmp_path / "raw", tmp_path / "not-there")
    assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize("place", ["raw", "mirror", "web"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_wrong_content_is_refused(tiny: DatasetInfo, mirror: Path, tmp_path: Path, place: str, damage: str) -> None:
    raw, web = tmp_path / "raw", tmp_path / "web"
    info = served(tiny, web)
    folder = {"raw": raw / tiny.folder, "mirror": mirror / tiny.folder, "web": web}[place]
    if place != "mirror":
        shutil.copytree(mirror / tiny.folder, folder)
    path = folder / tiny.files[1].name
    good = path.read_bytes()
    path.write_bytes(good[:-1] if damage == "truncated" else good[:-1] + bytes([good[-1] ^ 1]))
    expected = f"{len(good) - 1} bytes.*expected {len(good)}" if damage == "truncated" else "sha256 .* expected"
    with pytest.raises(LmcError, match=f"{tiny.files[1].name}: .*{expected}.*; .*") as caught:
        fetch(info, raw, mirror if place == "mirror" else None)
    assert not isinstance(caught.value, Unavailable) and "\n" not in str(caught.value)
    # What came before is whole, what failed is not there, and nothing is left half-written.
    names = set(contents(raw / tiny.folder))
    assert names == ({file.name for file in tiny.files} if place == "raw" else {tiny.files[0].name})
