"""Training: stacks of runs in one hot loop, checkpoints at evaluation epochs, the same bits after any interruption."""
