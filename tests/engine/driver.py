"""A driver to be killed: `driver.py ADDRESS TASKS`, a pickled list of stacks."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from lmc_repro.common.numerics import choose_mode

choose_mode("portable")

from lmc_repro.engine.cluster import Cluster  # noqa: E402
from lmc_repro.engine.protocol import run_stacks  # noqa: E402
from lmc_repro.engine.ray import RayEngine  # noqa: E402

run_stacks(RayEngine(Cluster(sys.argv[1]), "cpu", print), pickle.loads(Path(sys.argv[2]).read_bytes()), print)
