"""The publishers' files: names, addresses and checksums; plain values, no imports of weight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One file of the publisher: its addresses in the order to try (none: it comes in an archive), and its content.

    `sha256`, or `md5` where no sha256 is known, as hex; `size` in bytes, 0 where it is not known.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str = ""
    size: int = 0
    md5: str = ""

    def __post_init__(self) -> None:
        if bool(self.sha256) == bool(self.md5):
            raise ValueError(f"{self.name}: give sha256, or md5 where no sha256 is known")

    @property
    def algorithm(self) -> str:
        """Name of the checksum."""
        return "sha256" if self.sha256 else "md5"

    @property
    def checksum(self) -> str:
        """The checksum that the content must have, as hex."""
        return self.sha256 or self.md5


def _from(folders: tuple[str, ...], name: str, sha256: str, size: int) -> RemoteFile:
    return RemoteFile(name, tuple(folder + name for folder in folders), sha256, size)


_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_CIFAR = ("https://www.cs.toronto.edu/~kriz/", "http://www.cs.toronto.edu/~kriz/")
_TINY = ("https://cs231n.stanford.edu/", "http://cs231n.stanford.edu/")

# Train images, train labels, test images, test labels.
MNIST_FILES = (
    _from(
        _MNIST,
        "train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9912422,
    ),
    _from(
        _MNIST, "train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881
    ),
    _from(
        _MNIST, "t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877
    ),
    _from(
        _MNIST, "t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542
    ),
)

# Train batches in their order, then the test batch. sha256 of files that have the md5 sums which torchvision lists.
CIFAR10_FILES = (
    RemoteFile("data_batch_1", (), "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd", 31035704),
    RemoteFile("data_batch_2", (), "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8", 31035320),
    RemoteFile("data_batch_3", (), "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9", 31035999),
    RemoteFile("data_batch_4", (), "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b", 31035696),
    RemoteFile("data_batch_5", (), "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154", 31035623),
    RemoteFile("test_batch", (), "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831", 31035526),
)

# The md5 sums that torchvision lists: no sha256 is known, since the files were never at hand here.
CIFAR100_FILES = (
    RemoteFile("train", (), md5="16019d7e3df5f24257cddd939b257f8d"),
    RemoteFile("test", (), md5="f0ef6b0ae62326f3e7ffdfab6717acfc"),
)

# Archives: sizes and sha256 as several independent projects publish them; never downloaded here.
CIFAR10_ARCHIVE = _from(
    _CIFAR, "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", 170498071
)
CIFAR100_ARCHIVE = _from(
    _CIFAR, "cifar-100-python.tar.gz", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", 169001437
)
TINY_IMAGENET_ARCHIVE = _from(
    _TINY, "tiny-imagenet-200.zip", "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821", 248100043
)
