"""Makes an exhibit: results/<key>/exhibit.json, and the images of batches beside it. No dates, no ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmc_repro.errors import LmcError
from lmc_repro.files import write_atomic, write_json
from lmc_repro.project import Project
from lmc_repro.schemas.exhibit import AccuraciesExhibit, BatchesExhibit, ExhibitConfig
from lmc_repro.schemas.params import Params

EXHIBIT = "exhibit.json"
IMAGES = "images.safetensors"


def make_exhibit(key: str, params: Params, project: Project) -> Path:
    """Write the folder of one exhibit under the active profile and return it; LmcError for an unknown key."""
    if key not in params.exhibits:
        allowed = ", ".join(params.exhibits) or "none"
        raise LmcError(f"KEY: found {key!r}, allowed: {allowed} (params.yaml: exhibits)")
    exhibit, folder = params.exhibits[key], project.results / key
    images: dict[str, Any] = {}
    # Each kind's imports are its own: only two need torch, only one the data.
    if isinstance(exhibit, BatchesExhibit):
        from lmc_repro.exhibits.batches import first_batches
        from lmc_repro.exhibits.check import shown_dataset

        found, images = first_batches(exhibit, shown_dataset(exhibit, params), project.prepared)
    elif isinstance(exhibit, AccuraciesExhibit):
        from lmc_repro.exhibits.accuracies import accuracies

        found = accuracies(exhibit, project.results)
    else:
        from lmc_repro.exhibits.parameters import parameters

        found = parameters(exhibit, params, f"params.yaml: exhibits.{key}")
    if images:
        from safetensors.numpy import save

        write_atomic(folder / IMAGES, save(images))
    else:
        (folder / IMAGES).unlink(missing_ok=True)
    write_json(folder / EXHIBIT, {**_heading(key, exhibit, params), **found})
    return folder


def _heading(key: str, exhibit: ExhibitConfig, params: Params) -> dict[str, Any]:
    profile = params.profiles[params.profile]
    return {
        "key": key,
        "kind": exhibit.kind,
        "title": exhibit.title,
        "question": exhibit.question,
        "profile": params.profile,
        "analogue": profile.analogue,
        "provenance": dict(exhibit.provenance),
    }
