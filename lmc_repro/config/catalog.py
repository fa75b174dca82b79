"""Facts of each data set: shape, sizes, normalisation, and the publisher's files with their checksums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lmc_repro.common.errors import LmcError, choices
from lmc_repro.config.own_code import is_own, own_object, short_name

Format = Literal["sklearn-digits", "idx", "cifar", "tiny-imagenet", "image-folder", "npz"]


@dataclass(frozen=True)
class RemoteFile:
    """One file of the publisher.

    `checksum` is the sha256 of its content as hex, or the md5 where no sha256 is known; `size` in bytes, 0 where it is
    not known; `urls` its addresses in the order to try, none for a file that comes in an archive.
    """

    name: str
    checksum: str
    size: int = 0
    urls: tuple[str, ...] = ()

    @property
    def algorithm(self) -> Literal["sha256", "md5"]:
        """The checksum's algorithm, known by its length."""
        return "sha256" if len(self.checksum) == 64 else "md5"


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


def patch_count(info: DatasetInfo, side: int, key: str) -> int:
    """Return the number of patches, `side` pixels high and wide, in an image; LmcError where they do not fill it.

    `key` is the setting that gave `side`: kernel or patch.
    """
    _, height, width = info.shape
    if height % side or width % side:
        raise LmcError(
            f"model.{key}: found {side}, allowed: a divisor of {height} and {width}, the sides of an image of "
            f"{info.name}"
        )
    return (height // side) * (width // side)


def _served(folders: tuple[str, ...], name: str, checksum: str, size: int) -> RemoteFile:
    return RemoteFile(name, checksum, size, tuple(folder + name for folder in folders))


_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_CIFAR = ("https://www.cs.toronto.edu/~kriz/", "http://www.cs.toronto.edu/~kriz/")
_TINY = ("https://cs231n.stanford.edu/", "http://cs231n.stanford.edu/")

# fmt: off
_MNIST_FILES = tuple(_served(_MNIST, *file) for file in (  # train images, train labels, test images, test labels
    ("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9912422),
    ("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881),
    ("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877),
    ("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542),
))
_CIFAR10_FILES = (  # train batches in their order, then the test batch; they have the md5 sums that torchvision lists
    RemoteFile("data_batch_1", "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd", 31035704),
    RemoteFile("data_batch_2", "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8", 31035320),
    RemoteFile("data_batch_3", "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9", 31035999),
    RemoteFile("data_batch_4", "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b", 31035696),
    RemoteFile("data_batch_5", "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154", 31035623),
    RemoteFile("test_batch", "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831", 31035526),
)
# The md5 sums that torchvision lists; the files were never at hand here.
_CIFAR100_FILES = (
    RemoteFile("train", "16019d7e3df5f24257cddd939b257f8d"), RemoteFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
)
# Archives: sizes and sha256 as several independent projects publish them; never downloaded here.
_CIFAR10_ARCHIVE = _served(
    _CIFAR, "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", 170498071
)
_CIFAR100_ARCHIVE = _served(
    _CIFAR, "cifar-100-python.tar.gz", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", 169001437
)
_TINY_IMAGENET_ARCHIVE = _served(
    _TINY, "tiny-imagenet-200.zip", "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821", 248100043
)
# fmt: on

_CIFAR10 = DatasetInfo(
    name="cifar10",
    title="CIFAR-10",
    shape=(3, 32, 32),
    classes=10,
    n_train=50000,
    n_test=10000,
    scale_max=255,
    mean=(0.49139968, 0.48215827, 0.44653124),
    std=(0.24703233, 0.24348505, 0.26158768),
    source="Krizhevsky 2009: Learning multiple layers of features from tiny images",
    split="the publishers' own",
    normalisation="author-code",
    format="cifar",
    digest="d9a61110583135b1ea1d43fe0b22c7ffd4b99276e4e9a3e29cac9faabf0ad685",
    folder="cifar-10-batches-py",
    files=_CIFAR10_FILES,
    archive=_CIFAR10_ARCHIVE,
)

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
        files=_MNIST_FILES,
    ),
    "cifar10": _CIFAR10,
    "cifar100": replace(
        _CIFAR10,
        name="cifar100",
        title="CIFAR-100",
        classes=100,
        source=f"{_CIFAR10.source}; the 100 fine labels",
        normalisation="author-code: that of CIFAR-10",
        digest="",
        folder="cifar-100-python",
        files=_CIFAR100_FILES,
        archive=_CIFAR100_ARCHIVE,
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
        archive=_TINY_IMAGENET_ARCHIVE,
    ),
}


def dataset_info(name: str, where: str = "data set") -> DatasetInfo:
    """Return the catalog's entry for `name`, or the DatasetInfo that FILE.py:NAME is, by that name.

    Raises:
        LmcError: If there is no such entry or file, or the object is no DatasetInfo; it begins with `where`.
    """
    if name in CATALOG:
        return CATALOG[name]
    if not is_own(name):
        raise LmcError(f"{where}: {choices(name, (*CATALOG, 'FILE.py:NAME'))}")
    try:
        info = own_object(name)
    except LmcError as error:
        raise LmcError(f"{where}: {error}") from None
    if not isinstance(info, DatasetInfo):
        raise LmcError(f"{where}: {short_name(name)} is a {type(info).__name__}, expected a DatasetInfo")
    return replace(info, name=short_name(name))
