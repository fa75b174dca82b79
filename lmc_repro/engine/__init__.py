"""Engines: plan stacks of runs and execute them in processes of this machine or elsewhere."""
