"""Comparison: finds the runs of a cell in MLflow, pairs them, measures the path between their stored weights."""
