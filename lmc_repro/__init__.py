"""lmc_repro: are two trained networks linearly connected? (arXiv 2312.09832, re-makeable bit for bit)

For notebooks: `from lmc_repro import load_dataset, measure_pair, path_between, plot_path, run_config, study, train`
(docs/api.md). Each is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmc_repro.barriers.barrier import Barriers, curve_barriers
    from lmc_repro.barriers.curve import Curve
    from lmc_repro.barriers.modules import align_modules, path_between
    from lmc_repro.common.errors import LmcError
    from lmc_repro.notebook.paths import Picture, measure_pair, measure_plane, plot_path, plot_plane
    from lmc_repro.notebook.runs import Run, load_dataset, run_config, train
    from lmc_repro.notebook.study import Study, study

__version__ = "0.1.0"

_PLACES = {
    "Barriers": "barriers.barrier",
    "Curve": "barriers.curve",
    "LmcError": "common.errors",
    "Picture": "notebook.paths",
    "Run": "notebook.runs",
    "Study": "notebook.study",
    "align_modules": "barriers.modules",
    "curve_barriers": "barriers.barrier",
    "load_dataset": "notebook.runs",
    "measure_pair": "notebook.paths",
    "measure_plane": "notebook.paths",
    "path_between": "barriers.modules",
    "plot_path": "notebook.paths",
    "plot_plane": "notebook.paths",
    "run_config": "notebook.runs",
    "study": "notebook.study",
    "train": "notebook.runs",
}

__all__ = [
    "Barriers",
    "Curve",
    "LmcError",
    "Picture",
    "Run",
    "Study",
    "align_modules",
    "curve_barriers",
    "load_dataset",
    "measure_pair",
    "measure_plane",
    "path_between",
    "plot_path",
    "plot_plane",
    "run_config",
    "study",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
