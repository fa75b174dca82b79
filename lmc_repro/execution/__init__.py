"""Execution: from runs to stacks, from stacks to processes, and what it will cost."""
