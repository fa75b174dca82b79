"""Engines: stacks of runs planned, and executed in processes of this machine or elsewhere."""
