from __future__ import annotations

import pytest

from lmc_repro.cli.session import parse_settings
from lmc_repro.common.errors import LmcError
from lmc_repro.config.study import Settings


def test_values_are_read_as_in_params_yaml() -> None:
    given = parse_settings(("filters=16", "init=kaiming-normal", "weight_decay=5e-4", "augment={flip: true, crop: 4}"))
    assert given == Settings.model_validate(
        {"filters": 16, "init": "kaiming-normal", "weight_decay": 5e-4, "augment": {"flip": True, "crop": 4}}
    )
    assert parse_settings(()) == Settings()


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (("filters",), "--set: found 'filters', allowed: KEY=VALUE, e.g. filters=16"),
        (("filter=16",), "--set: filter: unknown key; did you mean filters? allowed: "),
        (("filters=many",), "--set: filters: found 'many', allowed: a valid integer"),
        (("filters=1", "filters=2"), "--set filters: given twice; give it once"),
        (("augment={flip: true",), "--set augment, line 1, column "),
        (("epochs=3",), "--set epochs: use --epochs"),
    ],
)
def test_a_mistake_is_one_line(texts: tuple[str, ...], line: str) -> None:
    with pytest.raises(LmcError) as caught:
        parse_settings(texts)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
