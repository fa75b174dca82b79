"""What each data set is: shape, sizes, normalisation, and where its files come from; plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmc_repro.data.remote import (
    CIFAR10_ARCHIVE,
    CIFAR10_FILES,
    CIFAR100_ARCHIVE,
    CIFAR100_FILES,
    MNIST_FILES,
    TINY_IMAGENET_ARCHIVE,
    RemoteFile,
)
from lmc_repro.errors import LmcError

Format = Literal["sklearn-digits", "idx", "cifar", "tiny-imagenet", "image-folder", "npz"]


@dataclass(frozen=True)
class DatasetInfo:
    """One data set.

    `shape` is (channels, height, width) of a uint8 image with values 0..`scale_max`; `mean` and `std` are per
    channel, in units of `scale_max`, so a network sees (value / scale_max - mean) / std. `digest` is what
    `data_digest` must find in the decoded arrays (empty: not checked). `source`, `split` and `normalisation` say in
    words where each choice comes from.

    `folder` (for `npz`: the file) is where it lies below the raw folder or the mirror, in torchvision's layout; empty
    for a data set that an installed package carries. `files` in it are checked one by one, in the order that the
    reader of `format` expects; without any, the reader takes the folder as it is. `archive`, beside the folder, is the
    publisher's, and holds the folder.
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
    format: Format
    digest: str = ""
    folder: str = ""
    files: tuple[RemoteFile, ...] = ()
    archive: RemoteFile | None = None

    @property
    def embedded(self) -> bool:
        """Whether an installed package carries it, so that there is nothing to get."""
        return not self.folder

    @property
    def features(self) -> int:
        """Number of values in one image."""
        channels, height, width = self.shape
        return channels * height * width


_CIFAR_MEAN = (0.49139968, 0.48215827, 0.44653124)
_CIFAR_STD = (0.24703233, 0.24348505, 0.26158768)

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
        files=MNIST_FILES,
    ),
    "cifar10": DatasetInfo(
        name="cifar10",
        title="CIFAR-10",
        shape=(3, 32, 32),
        classes=10,
        n_train=50000,
        n_test=10000,
        scale_max=255,
        mean=_CIFAR_MEAN,
        std=_CIFAR_STD,
        source="Krizhevsky 2009: Learning multiple layers of features from tiny images",
        split="the publishers' own",
        normalisation="author-code",
        format="cifar",
        digest="d9a61110583135b1ea1d43fe0b22c7ffd4b99276e4e9a3e29cac9faabf0ad685",
        folder="cifar-10-batches-py",
        files=CIFAR10_FILES,
        archive=CIFAR10_ARCHIVE,
    ),
    "cifar100": DatasetInfo(
        name="cifar100",
        title="CIFAR-100",
        shape=(3, 32, 32),
        classes=100,
        n_train=50000,
        n_test=10000,
        scale_max=255,
        mean=_CIFAR_MEAN,
        std=_CIFAR_STD,
        source="Krizhevsky 2009: Learning multiple layers of features from tiny images; the 100 fine labels",
        split="the publishers' own",
        normalisation="author-code: that of CIFAR-10",
        format="cifar",
        folder="cifar-100-python",
        files=CIFAR100_FILES,
        archive=CIFAR100_ARCHIVE,
    ),
    "tinyimagenet": DatasetInfo(
        name="tinyimagenet",
        title="Tiny ImageNet",
        shape=(3, 64, 64),
        classes=200,
        n_train=100000,
        n_test=10000,
        scale_max=255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        source="Stanford CS231n: Tiny ImageNet, 200 classes of ImageNet at 64 x 64",
        split="train, and val as test: the labels of its test split are not public",
        normalisation="author-code: ImageNet's",
        format="tiny-imagenet",
        folder="tiny-imagenet-200",
        archive=TINY_IMAGENET_ARCHIVE,
    ),
}


def dataset_info(name: str) -> DatasetInfo:
    """Return the catalog's entry for `name`; LmcError, naming the known ones, if there is none."""
    try:
        return CATALOG[name]
    except KeyError:
        raise LmcError(f"data set {name!r} is unknown; use one of: {', '.join(sorted(CATALOG))}") from None
