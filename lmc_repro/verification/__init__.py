"""Verification: recomputes a run, a path or the files of a study, and compares their bytes with the record."""
