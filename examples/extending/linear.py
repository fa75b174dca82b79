"""A learning rate that falls to 0 along a straight line."""


def linear(done: int, steps: int) -> float:
    return 1.0 - done / steps
