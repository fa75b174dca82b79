"""What each data set is: shape, sizes, normalisation, and where its files come from; plain values, no imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmc_repro.errors import LmcError


@dataclass(frozen=True)
class RemoteFile:
    """One file of the publisher: its addresses in the order to try, and what it must contain."""

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int


@dataclass(frozen=True)
class DatasetInfo:
    """One data set.

    `shape` is (channels, height, width) of a uint8 image with values 0..`scale_max`; `mean` and `std` are per
    channel, in units of `scale_max`, so a network sees (value / scale_max - mean) / std. `files` is empty for a data
    set that an installed package carries; otherwise they lie in `folder` (torchvision's layout) below the raw folder
    or the mirror, in the order that the reader of `format` expects. `digest` is what `data_digest` must find in the
    decoded arrays (empty: not checked). `source`, `split` and `normalisation` say in words where each choice comes
    from.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    n_train: int
    n_test: int
    scale_max: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    split: str
    normalisation: str
    format: Literal["sklearn-digits", "idx"]
    digest: str = ""
    folder: str = ""
    files: tuple[RemoteFile, ...] = ()

    @property
    def features(self) -> int:
        """Number of values in one image."""
        channels, height, width = self.shape
        return channels * height * width


_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _mnist_file(name: str, sha256: str, size: int) -> RemoteFile:
    return RemoteFile(name, tuple(mirror + name for mirror in _MNIST_MIRRORS), sha256, size)


CATALOG: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        name="digits",
        title="digits (scikit-learn)",
        shape=(1, 8, 8),
        classes=10,
        n_train=899,
        n_test=898,
        scale_max=16,
        mean=(0.3049,),
        std=(0.3764,),
        source="sklearn.datasets.load_digits: the 1,797 test images of UCI's optical recognition of handwritten digits",
        split="random halves, stratified by class, ours",
        normalisation="mean and standard deviation of the training half, to four places",
        format="sklearn-digits",
        digest="674b5104ace9494e18dc12f4b31460816d3131f8b9435cf428237fd4f9434829",
    ),
    "mnist": DatasetInfo(
        name="mnist",
        title="MNIST",
        shape=(1, 28, 28),
        classes=10,
        n_train=60000,
        n_test=10000,
        scale_max=255,
        mean=(0.1307,),
        std=(0.3081,),
        source="LeCun, Cortes and Burges: the MNIST database of handwritten digits",
        split="the publishers' own",
        normalisation="author-code",
        format="idx",
        digest="0fcbaaf0b960cd9364b37d51efda55428f841471b1c3e74b34150fcd3241bbb0",
        folder="MNIST/raw",
        files=(
            _mnist_file(
                "train-images-idx3-ubyte.gz",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                9912422,
            ),
            _mnist_file(
                "train-labels-idx1-ubyte.gz",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                28881,
            ),
            _mnist_file(
                "t10k-images-idx3-ubyte.gz",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                1648877,
            ),
            _mnist_file(
                "t10k-labels-idx1-ubyte.gz",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                4542,
            ),
        ),
    ),
}


def dataset_info(name: str) -> DatasetInfo:
    """Return the catalog's entry for `name`; LmcError, naming the known ones, if there is none."""
    try:
        return CATALOG[name]
    except KeyError:
        raise LmcError(f"data set {name!r} is unknown; use one of: {', '.join(sorted(CATALOG))}") from None
