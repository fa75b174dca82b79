"""What worker processes need, imported once for all of them in the process that they are forked from.

It starts no thread and computes nothing: what a library sets up with its first product is each worker's own.
"""

from lmc_repro.execution.threads import one_thread_each

one_thread_each()

from lmc_repro.training import trainer  # noqa: E402, F401
