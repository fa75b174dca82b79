"""All of params.yaml, validated before any work."""

from __future__ import annotations

from pydantic import Field, model_validator

from lmc_repro.schemas.base import Strict
from lmc_repro.schemas.profile import ProfileConfig
from lmc_repro.schemas.study import Key, StudyConfig


class DataPlace(Strict):
    """Where publishers' files may lie already: a folder in torchvision's layout (LMC_DATA_MIRROR wins)."""

    mirror: str | None = None


class Params(Strict):
    """The whole file: the active profile, all profiles, all studies."""

    profile: Key
    data: DataPlace = DataPlace()
    profiles: dict[Key, ProfileConfig] = Field(min_length=1)
    studies: dict[Key, StudyConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _profile_exists(self) -> Params:
        if self.profile not in self.profiles:
            raise ValueError(f"profile: found {self.profile!r}, allowed: {', '.join(self.profiles)}")
        for key, profile in self.profiles.items():
            for i, override in enumerate(profile.overrides):
                study = self.studies.get(override.study)
                where = f"profiles.{key}.overrides.{i}"
                if study is None:
                    raise ValueError(f"{where}.study: found {override.study!r}, allowed: {', '.join(self.studies)}")
                if override.row is not None and override.row not in study.rows:
                    raise ValueError(f"{where}.row: found {override.row!r}, allowed: {', '.join(study.rows)}")
                if override.column is not None and override.column not in study.columns:
                    raise ValueError(f"{where}.column: found {override.column!r}, allowed: {', '.join(study.columns)}")
        return self
