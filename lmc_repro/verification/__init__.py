"""Proof: trains a run again and certifies its bits, verifies a study's files and store, compares with a lock."""
