"""Images whose class 1 is brighter above."""

from lmc_repro.config.catalog import DatasetInfo

HALVES = DatasetInfo(
    name="halves",
    title="Halves",
    shape=(3, 6, 6),  # channels, height, width
    classes=2,
    n_train=200,
    n_test=50,
    scale_max=255,  # a pixel's largest value
    mean=(0.3606, 0.3562, 0.3576),  # of the training images, per channel, in units of scale_max
    std=(0.2276, 0.2272, 0.23),
    source="random numbers",
    split="random",
    normalisation="mean and standard deviation of the training images",
    format="npz",
    folder="halves.npz",
)
