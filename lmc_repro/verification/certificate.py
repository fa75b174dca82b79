"""Certificate of `lmc reproduce`: every comparison, the first difference, and its likely reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lmc_repro.verification.differences import Check, Finding, differences
from lmc_repro.verification.identity import Identity


@dataclass(frozen=True)
class Comparison:
    """A training, or the path of a pair, compared with its second making."""

    run_id: str
    name: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class TrainingComparison(Comparison):
    """A training; `fingerprints` are the recorded one and that of the second making."""

    fingerprints: tuple[str, str]
    recorded: Identity
    here: Identity


@dataclass(frozen=True)
class Certificate:
    """The answer of `lmc reproduce`. `likely` names possible reasons of the first difference, likeliest first."""

    kind: Literal["train", "pair"]
    run_id: str
    trainings: tuple[TrainingComparison, ...]
    path: Comparison | None
    likely: tuple[str, ...]
    trained: int
    seconds: float

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All differences, causes before effects."""
        every: tuple[Comparison, ...] = (*self.trainings, *((self.path,) if self.path else ()))
        return tuple(sorted((f for one in every for f in one.findings), key=lambda finding: finding.rank))

    @property
    def identical(self) -> bool:
        return not self.findings

    def record(self) -> dict[str, Any]:
        """Return the certificate as JSON has it."""
        first = asdict(self.findings[0]) if self.findings else None
        return {"identical": self.identical, "first": first, **asdict(self)}

    def lines(self) -> list[str]:
        """Return the certificate for people: a block per training, one for the path, and the answer at the end."""
        lines = []
        for training in self.trainings:
            recorded, here = training.recorded, training.here
            same = training.fingerprints[0] == training.fingerprints[1] and not list(differences(recorded, here))
            lines += [
                f"training {training.name}, run {training.run_id}",
                f"  recorded: {_identity_line(recorded)}, fingerprint {training.fingerprints[0]}",
                "  here:     "
                + ("the same" if same else f"{_identity_line(here)}, fingerprint {training.fingerprints[1]}"),
                *_check_lines(training),
            ]
        if self.path is not None:
            lines += [f"path {self.path.name}, run {self.path.run_id}", *_check_lines(self.path)]
        lines.append(f"trained {self.trained} in {self.seconds:.0f} s")
        if self.identical:
            return [*lines, "identical: every recorded bit was made again"]
        first, *others = self.findings
        lines += [f"differs: {first.text}", *(f"  also: {finding.text}" for finding in others[:4])]
        if len(others) > 4:
            lines.append(f"  and {len(others) - 4} more; --json lists all")
        return lines + [f"likely: {reason}" for reason in self.likely]


def _identity_line(identity: Identity) -> str:
    commit = identity["commit"] or "no commit"
    dirty = "-dirty" if commit.endswith("-dirty") else ""
    return (
        f"torch {identity['torch']}, {identity['numerics']}, TRAINING_NUMERICS {identity['training_numerics']}, "
        f"data {(identity['data'] or 'unknown')[:12]}, commit {commit[:12]}{dirty}"
    )


def _check_lines(comparison: Comparison) -> list[str]:
    return [f"  {check.name:<18} {_state(check)}" for check in comparison.checks]


def _state(check: Check) -> str:
    if check.total == 0:
        return "none recorded"
    if check.total == 1:
        return "identical" if check.equal else "DIFFERS"
    return f"{check.equal} of {check.total} identical" + ("" if check.equal == check.total else "  DIFFERS")
