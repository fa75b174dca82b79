"""The examples of docs/extending.md: what each computes, and that runs with it keep the promises of all others."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import contents, final_weights, folder_for, run_config, tiny_dataset, train

from lmc_repro.common.errors import LmcError
from lmc_repro.config.load import validate
from lmc_repro.config.run import RunConfig, Seeds
from lmc_repro.data.augment import epoch_view, step_draws
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.models.registry import build_model, network
from lmc_repro.training.optimizer import build_optimizer
from lmc_repro.training.schedule import learning_rates

EXAMPLES = Path(__file__).parents[2] / "examples" / "extending"
RESIDUAL = {"kind": "residual.py:Residual", "width": 9, "blocks": 2}
LION = {"kind": "lion.py:Lion", "lr": 0.01, "beta1": 0.9, "beta2": 0.5}
STEP = {"kind": "brightness.py:Brightness", "by": 0.5}
BRIGHTER = {"data": {"augment": {"steps": [STEP]}}}
LINE = {"kind": "linear.py:linear"}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the examples' files, outside of the package and of any project."""
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)


def pinned(file: str, name: str) -> str:
    return f"{file}:{name}#{hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]}"


def configs(*loaders: int, **changes: Any) -> list[RunConfig]:
    augmented = "augment" in changes.get("data", {})
    seeds = [{"loader": loader} | ({"augmentation": loader} if augmented else {}) for loader in loaders]
    return [run_config(seeds=each, **changes) for each in seeds]


ALL = {"model": RESIDUAL, "optimizer": LION, "schedule": LINE, **BRIGHTER}
EACH = {name: {name: value} for name, value in ALL.items()} | {"all": ALL}


@pytest.mark.parametrize("changes", EACH.values(), ids=EACH)
def test_a_run_does_not_notice_its_mates(changes: dict[str, Any], tmp_path: Path) -> None:
    data = tiny_dataset()
    (alone,) = train(configs(0, **changes), data, tmp_path / "alone")
    stacked = train(configs(0, 1, 2, **changes), data, tmp_path / "stack")
    assert contents(alone) == contents(stacked[0])
    ends = [final_weights(folder) for folder in stacked]
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("changes", EACH.values(), ids=EACH)
def test_one_epoch_of_digits(changes: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    changes = {**changes, "data": {"dataset": "digits", **changes.get("data", {})}}
    (folder,) = train(configs(0, epochs=1, evaluate_at=[0, 1], **changes), digits, tmp_path)
    wrong = {row.epoch: row.wrong for row in folder.metrics() if row.split == "train"}
    assert wrong[1] < wrong[0] * 0.6  # type: ignore[operator]
    assert folder.config() == configs(0, epochs=1, evaluate_at=[0, 1], **changes)[0]  # read back from its file


def test_another_value_of_each_setting_is_another_run() -> None:
    changes = [
        {"model": RESIDUAL}, {"model": {**RESIDUAL, "blocks": 3}}, {"optimizer": LION},
        {"optimizer": {**LION, "beta2": 0.6}}, {"schedule": LINE}, BRIGHTER,
        {"data": {"augment": {"steps": [{**STEP, "by": 0.6}]}}},
    ]  # fmt: skip
    data = tiny_dataset()
    names = {folder_for(configs(0, **change)[0], data, Path()).fingerprint for change in [{}, *changes]}
    assert len(names) == 1 + len(changes)


def test_the_residual_network_by_hand() -> None:
    model = build_model(run_config(model={**RESIDUAL, "width": 2, "blocks": 1}).model, tiny_dataset().info)
    first = torch.zeros(1, 2, 25)
    first[0, 0, 0], first[0, 1, 1] = 1.0, 1.0  # reads the first two pixels
    weights = {"maps.0.weight": first, "maps.1.weight": torch.tensor([[[0.0, 1.0], [10.0, 0.0]]])}
    weights["maps.2.weight"] = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]])
    images = torch.zeros(1, 1, 1, 5, 5)
    images[..., 0, 0], images[..., 0, 1] = -2.0, 3.0  # x + W relu(x) = (-2 + 3, 3 + 10 * 0)
    assert model.forward(weights, images).tolist() == [[[1.0, 3.0, 4.0, 0.0]]]
    assert model.forward_flops() == (2 * 50, 2 * (4 + 8)) and model.activations() == 2 * (2 + 2 + 4)


def test_lion_by_hand() -> None:
    weights = torch.tensor([[1.0, 1.0]])
    optimizer = build_optimizer(run_config(optimizer=LION).optimizer, weights)
    rates = torch.tensor([[0.25]])
    optimizer.update(weights, torch.tensor([[2.0, -4.0]]), *optimizer.numbers(rates, 0))
    assert weights.tolist() == [[0.75, 1.25]] and optimizer.state["mean"].tolist() == [[1.0, -2.0]]
    gradient = torch.tensor([[-8.0, 20.0]])
    optimizer.update(weights, gradient, *optimizer.numbers(rates, 1))  # 0.9 * 1 - 0.1 * 8 > 0, -0.9 * 2 + 0.1 * 20 > 0
    assert weights.tolist() == [[0.5, 1.0]] and optimizer.state["mean"].tolist() == [[-3.5, 9.0]]


def test_the_line_by_hand() -> None:
    config = run_config(schedule={**LINE, "warmup_epochs": 1}, optimizer={"lr": 0.5}, epochs=3)
    found = [learning_rates([config], step, steps_per_epoch=2)[0] for step in range(6)]
    assert found == [0.0, 0.25, 0.5, 0.375, 0.25, 0.125]


def test_brightness_moves_each_image_by_a_draw_of_its_own() -> None:
    config, data = configs(0, **BRIGHTER)[0], tiny_dataset()
    seeds = [Seeds(trainer=0, loader=0, augmentation=7)]
    view = epoch_view(config.data.augment, data.info, 53, seeds, 2, torch.device("cpu"))
    images, indices = data.train.images[:4].unsqueeze(0), torch.tensor([[0, 1, 2, 3]])
    shift = view(images, indices) - normalise(images, data.info)
    drawn = torch.from_numpy(step_draws("brightness.py:Brightness", 7, 2, 53))[:4, 0] - 0.5
    assert torch.allclose(shift, drawn.view(1, 4, 1, 1, 1).expand_as(shift), atol=1e-6)
    assert drawn.min() >= -0.5 and drawn.max() < 0.5 and len(set(drawn.tolist())) == 4
    turned = view(images[:, [3, 0]], indices[:, [3, 0]]) - normalise(images[:, [3, 0]], data.info)
    assert torch.allclose(turned, shift[:, [3, 0]], atol=1e-6)  # by sample, wherever it stands in the batch


def test_draws_are_uniform_and_each_kinds_own() -> None:
    draws = step_draws("brightness", 0, 0, 5000)
    assert draws.shape == (5000, 4) and abs(draws.mean() - 0.5) < 0.01 and abs(draws.std() - 12**-0.5) < 0.01
    for other in (step_draws("other", 0, 0, 5000), step_draws("brightness", 1, 0, 5000)):
        assert abs(float((draws * other).mean()) - 0.25) < 0.01 and (draws != other).all()
    assert (step_draws("brightness", 0, 0, 10) == draws[:10]).all()


MISTAKES = [
    ({"model": {**RESIDUAL, "blcks": 2}}, "model.blcks: unknown key; did you mean blocks? allowed: init, gain, kind"),
    ({"optimizer": {**LION, "beta2": "x"}}, "optimizer.beta2: found 'x', allowed: a valid number"),
    (
        {"optimizer": {"kind": "lino", "lr": 1.0}},
        "optimizer.kind: found 'lino', allowed: 'sgd', 'adam', 'adamw', 'muon', 'sam', FILE.py:NAME",
    ),
    ({"schedule": {"kind": "lnear"}}, "schedule.kind: found 'lnear', allowed: 'constant', 'cosine', FILE.py:NAME"),
    ({"data": {"dataset": "d", "augment": {"steps": [{"kind": "bright"}]}}}, "data.augment.steps.0.kind: found"),
    ({"data": {"dataset": "d", "augment": {"steps": [{"kind": STEP["kind"]}]}}}, "data.augment.steps.0.by: missing"),
]  # fmt: skip


@pytest.mark.parametrize("change, told", MISTAKES, ids=[told.partition(":")[0] for _, told in MISTAKES])
def test_a_mistake_is_one_line(change: dict[str, Any], told: str) -> None:
    values = run_config().model_dump(mode="json") | change
    with pytest.raises(LmcError) as caught:
        validate(RunConfig, values, "params.yaml")
    assert str(caught.value).startswith(f"params.yaml: {told}"), str(caught.value)


def test_what_a_run_page_calls_it() -> None:
    config = run_config(model=RESIDUAL).model
    assert network(config.model_dump(mode="json")) == "residual.py:Residual, width 9, blocks 2"


def test_config_json_has_the_pins_and_all_settings(tmp_path: Path) -> None:
    (folder,) = train(configs(0, **ALL), tiny_dataset(), tmp_path)
    stored = json.loads((folder.path / "config.json").read_text())
    assert stored["model"] == {
        "kind": pinned("residual.py", "Residual"), "init": "torch-default", "gain": None, "width": 9, "blocks": 2,
    }  # fmt: skip
    assert stored["optimizer"] == LION | {"kind": pinned("lion.py", "Lion")}
    assert stored["schedule"]["kind"] == pinned("linear.py", "linear")
    assert stored["data"]["augment"]["steps"] == [STEP | {"kind": pinned("brightness.py", "Brightness")}]


def test_other_content_is_another_run_and_the_old_one_is_read_without_its_file(tmp_path: Path) -> None:
    data, (old,) = tiny_dataset(), configs(0, **ALL)
    (folder,) = train([old], data, tmp_path)
    draws = step_draws(old.data.augment.steps[0].kind, 0, 0, 10)
    for file in ("residual.py", "brightness.py"):
        Path(file).write_text(Path(file).read_text() + "# changed\n")
    (new,) = configs(0, **ALL)
    assert folder_for(new, data, tmp_path).fingerprint != folder.fingerprint
    assert (step_draws(new.data.augment.steps[0].kind, 0, 0, 10) == draws).all()  # by the name, not by the content
    assert folder.config() == old
    shutil.copy(EXAMPLES / "brightness.py", ".")
    Path("residual.py").unlink()
    assert folder.config() == old  # reports need no file
    with pytest.raises(LmcError, match=r"^again: model: .*residual\.py: cannot be read"):
        validate(RunConfig, old.model_dump(mode="json"), "again")
    Path("residual.py").write_text("# another\n")
    with pytest.raises(LmcError, match=r"^again: model: .*residual\.py: changed since this run: .* recorded \w{16};"):
        validate(RunConfig, old.model_dump(mode="json"), "again")
    shutil.copy(EXAMPLES / "residual.py", ".")
    assert run_config(model=RESIDUAL).model == old.model


def test_what_a_run_stored_imports_nothing(tmp_path: Path) -> None:
    (folder,) = train(configs(0, **ALL), tiny_dataset(), tmp_path)
    Path("evil.py").write_text("open('imported', 'w').close()\nclass X: ...\n")
    stored = json.loads((folder.path / "config.json").read_text())
    for change in ({"model": RESIDUAL | {"kind": "evil.py:X"}}, {"schedule": {"kind": "evil.py:X"}}):
        (folder.path / "config.json").write_text(json.dumps(stored | change))
        with pytest.raises(LmcError, match=r"config\.json: (model|schedule\.kind): .*#<sha256>"):
            folder.config()
    (folder.path / "config.json").write_text(json.dumps(stored | {"data": {"dataset": "evil.py:X#0123456789abcdef"}}))
    with contextlib.suppress(LmcError):
        folder.config()
    assert not Path("imported").exists()


def test_a_config_goes_to_a_process_that_has_not_read_the_files(tmp_path: Path) -> None:
    (config,) = configs(0, **ALL)
    Path("config.pickle").write_bytes(pickle.dumps(config))
    read = "import pickle; print(pickle.load(open('config.pickle', 'rb')).model_dump_json())"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True)
    assert done.stdout == config.model_dump_json() + "\n" and pickle.loads(pickle.dumps(config)) == config


WRONG_FILES = {
    "import nothing_there": r"residual\.py: cannot be imported \(ModuleNotFoundError",
    "x = (": r"residual\.py: cannot be imported \(SyntaxError",
    "x = 1": r"residual\.py: found no Residual, allowed: x",
    "Residual = 1": r"residual\.py:Residual: has no class Config",
    "class Residual:\n    Config = dict": r"residual\.py:Residual: has no class Config",
}


@pytest.mark.parametrize("content", WRONG_FILES)
def test_a_file_that_cannot_be_used_is_one_line(content: str) -> None:
    Path("residual.py").write_text(content)
    with pytest.raises(LmcError, match=rf"^run: model: .*{WRONG_FILES[content]}") as caught:
        validate(RunConfig, {**run_config().model_dump(mode="json"), "model": RESIDUAL}, "run")
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    text = Path("residual.py").read_text()
    Path("residual.py").write_text(text.replace("self.config = config", "self.config = config.nothing"))
    with pytest.raises(LmcError, match=r"^network residual\.py:Residual: AttributeError: .*nothing.* line \d+\)$"):
        build_model(run_config(model=RESIDUAL).model, tiny_dataset().info)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["portable", "native"])
def test_files_that_import_torch_leave_the_numerics_mode_free(mode: str) -> None:
    """The mode is chosen after params.yaml is read, and so after torch is imported by a file of one's own."""
    code = (
        "from lmc_repro.config.registry import OPTIMIZERS, settings_class\n"
        "from lmc_repro.common.numerics import choose_mode\n"
        "import sys\n"
        "settings_class(OPTIMIZERS, 'lion.py:Lion')\n"
        "assert 'torch' in sys.modules\n"
        f"assert choose_mode({mode!r})[0] == {mode!r}\n"
        "import torch; print(torch.backends.cpu.get_cpu_capability())"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("LMC_NUMERICS", "ATEN_CPU_CAPABILITY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.strip() == "AVX2") or mode == "native"


def test_the_files_are_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len([line for line in path.read_text().splitlines() if line.strip()]) <= 30, path
