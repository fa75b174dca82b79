"""The steps over a study: train, compare, publish."""
