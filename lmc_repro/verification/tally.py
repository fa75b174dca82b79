"""Counts what was looked at and keeps one line for each thing that is wrong."""

from __future__ import annotations

from lmc_repro.verification.certificate import Check


class Tally:
    """What a verification has seen so far."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._counts: dict[str, list[int]] = {}

    def add(self, what: str, problem: str | None) -> bool:
        """Count one `what`, good if there is no problem with it; returns whether it is."""
        count = self._counts.setdefault(what, [0, 0])
        count[0] += problem is None
        count[1] += 1
        if problem is not None:
            self.problems.append(problem)
        return problem is None

    @property
    def checks(self) -> tuple[Check, ...]:
        """All that was counted, in the order in which it was met first."""
        return tuple(Check(name, good, total) for name, (good, total) in self._counts.items())
