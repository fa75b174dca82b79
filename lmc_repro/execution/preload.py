"""What worker processes need, imported once for all of them in the process that they are forked from.

It starts no thread and computes nothing: what a library sets up with its first product is each worker's own.
"""

import gc

from lmc_repro.execution.threads import keep_freed_memory, one_thread_each

one_thread_each()
keep_freed_memory()
gc.disable()  # imports make many objects and no garbage

from lmc_repro.training import trainer  # noqa: E402, F401

gc.freeze()  # what is imported stays: no worker looks through it again
gc.enable()
