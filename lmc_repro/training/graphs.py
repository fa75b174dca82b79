"""A function that does the same work in every call, captured in a CUDA graph and replayed: one launch for hundreds."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3  # calls before the capture: they load libraries and make their workspaces, which a capture may not


class Graphs:
    """One graph for each size that a function is called with; all of them share their memory.

    The first calls run eagerly, on the stream of the capture, and count: they are the first steps of the training, not
    rehearsals that would have to be undone. The function leaves its results in tensors of its own, made before.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._calls: dict[int, int] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def run(self, size: int, function: Callable[[int], None]) -> None:
        """Do the work of function(size)."""
        if (graph := self._graphs.get(size)) is None:
            if self._calls.setdefault(size, 0) < WARM_UP:
                self._calls[size] += 1
                self._stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self._stream):
                    function(size)
                torch.cuda.current_stream().wait_stream(self._stream)
                return
            graph = self._graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                function(size)
        graph.replay()
