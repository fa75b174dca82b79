"""Data sets: acquisition, preparation, and batches for training."""
