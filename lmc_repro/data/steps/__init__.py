"""Augmentation steps of the registry, a file each (docs/extending.md)."""
