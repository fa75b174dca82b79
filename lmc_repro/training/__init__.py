"""Training: stacks of children in one hot loop, checkpoints at marks, the same bits after any interruption."""
