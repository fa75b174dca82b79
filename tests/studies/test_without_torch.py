"""What `lmc train` and `lmc compare` do before their workers begin, and with what comes back: without torch.

Its import takes as long as MLflow's, and the processes that workers are forked from import it at the same time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARAMS = Path(__file__).parent.parent.parent / "params.yaml"

BEGIN = f"""
import sys
from pathlib import Path

from lmc_repro.cli import commands
from lmc_repro.execution.pool import default_jobs
from lmc_repro.numerics import choose_mode
from lmc_repro.schemas.load import load_params
from lmc_repro.studies.expand import plan_study
from lmc_repro.studies.workspace import process_tag, resolve_device
from lmc_repro.training.precision import require_precision

params = load_params(Path({str(PARAMS)!r}))
choose_mode("portable")
plans = [plan_study(params, study) for study in params.studies]
for plan in plans:
    require_precision(plan.runs, resolve_device("cpu"))

def end():
    print(sorted({{"torch", "mlflow", "matplotlib"}} & set(sys.modules)))
"""

TRAIN = """
import pickle
from lmc_repro.execution.planner import Work, plan_stacks
from lmc_repro.execution.pool import _train
from lmc_repro.studies import train
from lmc_repro.training.event import Event
from lmc_repro.training.run_folder import RunFolder

kinds = set()
for plan in plans:
    train.members_of(plan.cells, {cell.config["data"]["dataset"]: "d" for cell in plan.cells}, "portable")
    work = [Work(str(i), run, "resident", train.peek_epoch(RunFolder(Path(str(i))))) for i, run in enumerate(plan.runs)]
    tasks = plan_stacks(work, 2, Path("store"), Path("prepared"), "portable", "cpu")
    kinds |= {run.model.kind for task in tasks for _, run in task.runs}
    pickle.dumps((_train, tasks))
assert kinds == {"mlp", "local", "conv", "attention"}, kinds
pickle.loads(pickle.dumps(Event("saved", ("0",), 1)))
end()
"""

COMPARE = """
import pickle
from lmc_repro.barriers.curve import Curve
from lmc_repro.barriers.results import PairResult
from lmc_repro.barriers.verdict import judge_cell
from lmc_repro.results.write import cell_record
from lmc_repro.barriers.pair import PairTask, judge_mark, pair_key
from lmc_repro.schemas.profile import Judgement
from lmc_repro.studies import compare
from lmc_repro.training.checkpoint import Checkpoint

file = Checkpoint(Path("unread"), b"", "")
flat = Curve((1, 1, 1), 100, (0.5, 0.5, 0.5))
for plan in plans:
    for cell in plan.cells:
        results = []
        for pair in cell.pairs:
            run = pair.runs[0]
            pair_key(("a", "b"), 11, "portable")
            judged = judge_mark(1, {"train": flat, "test": flat}, (None, None), 10, 10)
            task = PairTask(pair.name, pair.trainer_seed, ("a", "b"), (None, None), {1: (file, file)},
                            run.model, run.data, Path("prepared"), 11)
            pickle.dumps((compare.measure_and_draw, compare.DrawnTask(task, compare.figure_title(cell, pair.name))))
            result = PairResult(pair.name, 0, ("a", "b"), 10, (judged,), 1.0, 0.0, {"train": 0.0, "test": 0.0})
            results.append(pickle.loads(pickle.dumps(result)))
        assert cell_record(cell, judge_cell(results, Judgement(threshold=2.0), 10)).parameters > 0
end()
"""


def left(program: str) -> str:
    """Return which of the libraries that take seconds to import a program has imported."""
    done = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_training_is_planned_and_sent() -> None:
    assert left(TRAIN) == "[]"


def test_pairs_are_sent_and_cells_are_judged() -> None:
    assert left(COMPARE) == "[]"


def test_and_would_be_found() -> None:
    assert left("import lmc_repro.training.trainer, matplotlib\nend()") == "['matplotlib', 'torch']"
