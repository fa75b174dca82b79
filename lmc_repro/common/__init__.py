"""Shared ground: errors, files, locks, signals, numerics, progress, and where a project keeps its files."""
