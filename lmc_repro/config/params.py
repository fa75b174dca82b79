"""All of params.yaml, validated before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, model_validator

from lmc_repro.common import bounds
from lmc_repro.common.errors import choices
from lmc_repro.config.base import Key, Strict
from lmc_repro.config.exhibit import AccuraciesExhibit, BatchesExhibit, ExhibitConfig
from lmc_repro.config.study import SOURCES, ProfileConfig, Settings, StudyConfig

T = TypeVar("T", ProfileConfig, StudyConfig)


def _titled(table: dict[str, T]) -> dict[str, T]:
    """Give each entry without a title its key."""
    return {key: entry if entry.title else entry.model_copy(update={"title": key}) for key, entry in table.items()}


class DataPlace(Strict):
    """Where publishers' files may lie already: a folder in torchvision's layout (LMC_DATA_MIRROR wins)."""

    mirror: str | None = None


class Params(Strict):
    """The whole file: the active profile, all profiles, all studies, all exhibits."""

    profile: Key
    data: DataPlace = DataPlace()
    profiles: Annotated[dict[Key, ProfileConfig], AfterValidator(_titled)] = Field(
        min_length=1, max_length=bounds.STUDIES
    )
    studies: Annotated[dict[Key, StudyConfig], AfterValidator(_titled)] = Field(min_length=1, max_length=bounds.STUDIES)
    exhibits: dict[Key, ExhibitConfig] = Field(default_factory=dict, max_length=bounds.STUDIES)

    def layers(self) -> dict[str, Settings]:
        """Return every part of the file that holds settings, by its dotted path."""
        found: dict[str, Settings] = {}
        for key, profile in self.profiles.items():
            found[f"profiles.{key}.settings"] = profile.settings
            found |= {f"profiles.{key}.overrides.{i}.set": each.set for i, each in enumerate(profile.overrides)}
        for key, study in self.studies.items():
            found[f"studies.{key}.base"] = study.base
            found |= {f"studies.{key}.rows.{row}": entry for row, entry in study.rows.items()}
            found |= {f"studies.{key}.columns.{column}": entry for column, entry in study.columns.items()}
        return found

    @model_validator(mode="after")
    def _profile_exists(self) -> Params:
        _known((self.profile,), self.profiles, "profile")
        for key, profile in self.profiles.items():
            for i, override in enumerate(profile.overrides):
                where = f"profiles.{key}.overrides.{i}"
                _known(override.study, self.studies, f"{where}.study")
                for study in override.study:
                    _known(override.row or (), self.studies[study].rows, f"{where}.row")
                    _known(override.column or (), self.studies[study].columns, f"{where}.column")
        return self

    @model_validator(mode="after")
    def _what_is_reported_has_sources(self) -> Params:
        if all(study.reported is None for study in self.studies.values()):
            return self
        for key, profile in self.profiles.items():
            if missing := profile.without_source():
                raise ValueError(
                    f"profiles.{key}.provenance: no entry for {', '.join(missing)}; say where it comes from "
                    f"({', '.join(SOURCES)}), since a study has `reported`"
                )
        return self

    @model_validator(mode="after")
    def _exhibits_name_what_there_is(self) -> Params:
        for key, exhibit in self.exhibits.items():
            where = f"exhibits.{key}"
            if key in self.studies:
                raise ValueError(f"{where}: a study has this name, and both write to results/{key}; choose another")
            if isinstance(exhibit, BatchesExhibit) or exhibit.study is None:
                continue
            _known((exhibit.study,), self.studies, f"{where}.study")
            study = self.studies[exhibit.study]
            if isinstance(exhibit, AccuraciesExhibit):
                _known(exhibit.rows, study.columns, f"{where}.rows")
                _known(exhibit.columns, study.rows, f"{where}.columns")
        return self


def _known(keys: Iterable[str], there: Collection[str], where: str) -> None:
    for key in keys:
        if key not in there:
            raise ValueError(f"{where}: {choices(key, there)}")
