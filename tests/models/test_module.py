"""Modules of one's own as networks: initial weights, the built-in mlp's numbers, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import contents, final_weights, run_config, tiny_dataset, train
from torch.nn import functional

from lmc_repro.barriers.path import path_curves
from lmc_repro.common.errors import LmcError
from lmc_repro.common.numerics import is_portable
from lmc_repro.config.catalog import dataset_info
from lmc_repro.config.run import RunConfig
from lmc_repro.data.dataset import Dataset, normalise
from lmc_repro.engine.costs import run_flops
from lmc_repro.engine.stacks import QueuedRun, plan_stacks
from lmc_repro.models.base import Model
from lmc_repro.models.registry import build_model, network

MODULES = Path(__file__).with_name("own_modules.py")


def module(function: str, /, **options: Any) -> dict[str, Any]:
    return {"kind": "module", "module": f"{MODULES}:{function}", "options": options}


def built(function: str, /, **options: Any) -> Model:
    return build_model(run_config(model=module(function, **options)).model, tiny_dataset().info)


def test_the_trainer_seed_alone_decides_the_initial_weights() -> None:
    model, state = built("mlp", width=9), torch.get_rng_state()
    first, again, other = (model.init(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in first.items():
        assert torch.equal(weight, again[name]) and not torch.equal(weight, other[name])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torch.nn.Linear(25, 9)  # as after torch's own manual_seed
    assert torch.equal(first["layers.0.weight"], expected.weight)
    generator = torch.Generator().manual_seed(3)
    one, two = model.init(generator), model.init(generator)
    assert not torch.equal(one["layers.0.weight"], two["layers.0.weight"])  # the generator goes on


def test_a_module_mlp_is_the_built_in_one(tmp_path: Path) -> None:
    data = tiny_dataset()
    kinds = {"depth": 2, "width": 9, "slope": 0.0}, module("mlp", width=9)
    ours, own = (build_model(run_config(model=kind).model, data.info) for kind in kinds)
    assert ours.shapes == own.shapes and ours.forward_flops()[0] > own.forward_flops()[0] == 0
    assert sum(ours.forward_flops()) == sum(own.forward_flops())
    theta = {name: weight.unsqueeze(0) for name, weight in ours.init(torch.Generator().manual_seed(1)).items()}
    inputs = normalise(data.train.images, data.info).unsqueeze(0)
    torch.testing.assert_close(own.forward(theta, inputs), ours.forward(theta, inputs), rtol=0, atol=1e-6)
    ends = []
    for kind, name in zip(kinds, ("ours", "own"), strict=True):  # both draw layer after layer: the same start
        (folder,) = train([run_config(model=kind, epochs=4, evaluate_at=[0, 4])], data, tmp_path / name)
        ends.append((final_weights(folder), folder.metrics()))
    for name, weight in ends[0][0].items():  # 24 steps
        torch.testing.assert_close(ends[1][0][name], weight, rtol=0, atol=1e-4)
        assert not torch.allclose(weight, theta[name][0], atol=1e-2)
    assert [row.wrong for row in ends[0][1]] == [row.wrong for row in ends[1][1]]


@pytest.mark.slow
def test_a_run_does_not_notice_its_mates(tmp_path: Path) -> None:
    data = tiny_dataset()
    seeds = [{"trainer": seed, "loader": seed} for seed in range(2)]
    configs = [run_config(model=module("normed"), seeds=each) for each in seeds]
    stacked = train(configs, data, tmp_path / "stack")
    for i, config in enumerate(configs):
        (alone,) = train([config], data, tmp_path / f"{i}")
        assert contents(alone) == contents(stacked[i])


def test_networks_without_norms_do_not_depend_on_the_training_images(tmp_path: Path) -> None:
    data = tiny_dataset()
    model = built("normed", norm="identity")
    ends = [model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    other = Dataset(data.info, data.test, data.test, data.digest)
    assert path_curves(model, *ends, data, 5)["test"] == path_curves(model, *ends, other, 5)["test"]
    model = built("normed")
    ends = [model.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert path_curves(model, *ends, data, 5)["test"] != path_curves(model, *ends, other, 5)["test"]


def test_control_flow_that_depends_on_the_data(tmp_path: Path) -> None:
    model, data = built("forked"), tiny_dataset()
    weights = {n: w.unsqueeze(0).requires_grad_() for n, w in model.init(torch.Generator().manual_seed(0)).items()}
    for sign, used in ((1.0, "bright"), (-1.0, "dark")):
        inputs = torch.full((1, 3, *data.info.shape), sign)
        logits = model.forward(weights, inputs)
        gradients = torch.autograd.grad(functional.cross_entropy(logits[0], torch.arange(3)), tuple(weights.values()))
        moved = {name.partition(".")[0] for name, g in zip(weights, gradients, strict=True) if g.abs().sum() > 0}
        assert moved == {used}


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "dropout": ("other", {"name": "dropout"}, r"1 \(Dropout\) draws random numbers"),
    "rrelu": ("other", {"name": "rrelu"}, r"1 \(RReLU\) draws random numbers"),
    "noise": ("applied", {"function": "noise"}, r"the module \(Applied\) draws random numbers"),
    "python": ("applied", {"function": "python"}, r"the module \(Applied\) draws random numbers"),
    "state": ("other", {"name": "counting"}, "buffer seen changes in training"),
    "parameters": ("other", {"name": "shape"}, "has no parameters"),
    "outputs": (
        "other",
        {"name": "outputs"},
        r"returns torch.float32 \[2, 5\], expected logits torch.float32 \[b, 4\]",
    ),
    "no module": ("other", {"name": "none"}, "returned a NoneType, expected an nn.Module"),
    "raises": ("other", {"name": "raises"}, "ZeroDivisionError: division by zero"),
    "option": ("mlp", {"widht": 3}, "TypeError: .*widht"),
}


@pytest.mark.parametrize("function, options, told", REFUSED.values(), ids=REFUSED)
def test_what_no_run_can_hold_is_refused_in_one_line(function: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(LmcError, match=f"^model.module .*own_modules.py:{function}: {told}") as caught:
        built(function, **options)
    assert "\n" not in str(caught.value)


def test_dropout_of_probability_0_is_no_dropout() -> None:
    built("other", name="quiet")


def test_weights_from_elsewhere_than_torchs_generator_are_refused() -> None:
    with pytest.raises(LmcError, match=r"1.weight differs from build to build"):
        built("other", name="numpy").init(torch.Generator().manual_seed(0))


@pytest.mark.skipif(not is_portable(), reason="native products are the vendor's anyway")
@pytest.mark.parametrize(
    "function, told", [("erf", "erf"), ("svd", "linalg_"), ("float64", "float64"), ("fft", "_fft")]
)
def test_portable_numerics_refuse_what_belongs_to_a_vendor(function: str, told: str) -> None:
    with pytest.raises(LmcError, match=f"numerics: portable: torch's .*{told}"):
        built("applied", function=function)


@pytest.mark.parametrize("bound", [2**30, 0])
def test_a_norm_in_two_places_is_refused(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmc_repro.models.module.AT_ONCE_BYTES", bound)  # all images at once, or streamed
    monkeypatch.setattr("lmc_repro.models.module.BATCH", 20)
    model, data = built("other", name="twice"), tiny_dataset()
    weights = {n: w.unsqueeze(0) for n, w in model.init(torch.Generator().manual_seed(0)).items()}
    with pytest.raises(LmcError, match="norm: is called twice in a forward pass"):
        model.calibrated(weights, data.train)  # type: ignore[attr-defined]


def config(**options: Any) -> RunConfig:
    return run_config(model=module("mlp", **options), data={"dataset": "digits"}, seeds={"loader": 1})


def test_costs_and_stacks_of_one() -> None:
    info, runs = dataset_info("digits"), [config(width=9), config(width=9).model_copy(update={"epochs": 2})]
    assert run_flops(runs[0], info) == info.n_train * 3 * 3 * 2 * (64 * 9 + 9 * 10)  # 3 epochs, 3 passes
    work = [QueuedRun(str(i), run, "resident") for i, run in enumerate([runs[0]] * 3)]
    for device in ("cpu", "cuda"):
        tasks = plan_stacks(work, 1, Path(), Path(), "", device)
        assert [len(task.runs) for task in tasks] == [1, 1, 1]


def test_the_files_content_is_part_of_the_identity(tmp_path: Path) -> None:
    pinned = config(width=9).model.model_dump(mode="json")
    assert pinned["module"].startswith(f"{MODULES}:mlp#") and pinned["options"] == {"width": 9}
    assert network(pinned) == f"{MODULES}:mlp, width 9"
    copy = tmp_path / "nets.py"
    copy.write_text(MODULES.read_text())
    values = {**pinned, "module": f"{copy}:mlp"}
    first = run_config(model=values).model
    copy.write_text(MODULES.read_text() + "\n# another file\n")
    assert run_config(model=values).model != first
    with pytest.raises(ValueError, match="found no nobody"):
        run_config(model=module("nobody"))
