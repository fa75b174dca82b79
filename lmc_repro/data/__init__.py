"""Data sets: what each one is, how it gets here, and how its batches reach the training."""
