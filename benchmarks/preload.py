"""Imports shared by all processes of a benchmark: `make bench` compares loops, not imports."""

import torch
import torchvision.datasets  # noqa: F401

from lmc_repro.data.beton import import_ffcv
from lmc_repro.training import trainer  # noqa: F401

import_ffcv()
torch.set_num_threads(1)
