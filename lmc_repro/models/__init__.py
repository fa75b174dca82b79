"""Networks as pure functions of stacked weights: every tensor has a leading axis of runs."""
