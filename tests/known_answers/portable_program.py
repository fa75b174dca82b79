"""Programs that tests run in processes of their own: training and paths under other kernels, or watched by MKL.

python -m known_answers.portable_program bits                   # JSON: sha256 of weights and curve, case by case
python -m known_answers.portable_program calls [native|bypass]  # MKL's own lines, BETWEEN, those of one torch.mm
"""

from __future__ import annotations

import json
import os
import sys

from lmc_repro.common.numerics import choose_mode

choose_mode("native" if "native" in sys.argv else "portable")
import torch  # noqa: E402
from known_answers import golden  # noqa: E402

from lmc_repro.common import openblas  # noqa: E402
from lmc_repro.common.numerics import use_one_thread  # noqa: E402
from lmc_repro.models import products  # noqa: E402

BETWEEN = "-- a product of torch's own --"


def main(what: str) -> None:
    use_one_thread()
    if what == "bits":
        found = golden.measure(golden.kernels())
        print(json.dumps({"core": openblas.loaded_core(), "sha256": found}))
        return
    if "bypass" in sys.argv:  # as if attention had not been told of the one product
        products.product = torch.bmm
    golden.measure(golden.kernels())
    sys.stdout.flush()
    os.write(1, f"{BETWEEN}\n".encode())
    torch.mm(torch.ones(4, 4), torch.ones(4, 4))


if __name__ == "__main__":
    main(sys.argv[1])
