"""What re-making a run has shown: every comparison, the first that fails, and what is likely behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmc_repro.verification.identity import Identity

Where = Literal["stored", "data", "init", "order", "augmentation", "training", "path"]
"""At what a difference lies, in the order in which one leads to the next; `stored`: MLflow's copy is damaged."""

ORDER: tuple[Where, ...] = ("stored", "data", "init", "order", "augmentation", "training", "path")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as recorded. `epoch` where it belongs to one."""

    where: Where
    text: str
    epoch: float | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts findings by what comes first in a training."""
        return ORDER.index(self.where), -1.0 if self.epoch is None else self.epoch


@dataclass(frozen=True)
class Check:
    """One kind of thing that was compared: how many of `total` are equal; a total of 0 says that there is none."""

    name: str
    equal: int
    total: int


@dataclass(frozen=True)
class Proof:
    """A training, or the path of a pair, against its second making."""

    run_id: str
    name: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class TrainingProof(Proof):
    """A training; `fingerprints` are the recorded one and that of the second making."""

    fingerprints: tuple[str, str]
    recorded: Identity
    here: Identity


@dataclass(frozen=True)
class Certificate:
    """The answer of `lmc reproduce`. `likely` says what may be behind the first difference, likeliest first."""

    kind: Literal["train", "pair"]
    run_id: str
    trainings: tuple[TrainingProof, ...]
    path: Proof | None
    likely: tuple[str, ...]
    trained: int
    reused: int
    seconds: float

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that differs, first things first."""
        proofs: tuple[Proof, ...] = (*self.trainings, *((self.path,) if self.path else ()))
        return tuple(sorted((f for proof in proofs for f in proof.findings), key=lambda finding: finding.rank))

    @property
    def identical(self) -> bool:
        return not self.findings


def certificate_lines(certificate: Certificate) -> list[str]:
    """Return the certificate for people: one block a training, the path of a pair, and the answer in the last lines."""
    lines = []
    for proof in certificate.trainings:
        apart = proof.recorded.differences(proof.here)
        lines.append(f"training {proof.name}, run {proof.run_id}")
        lines.append(f"  recorded: {_told(proof.recorded)}, fingerprint {proof.fingerprints[0]}")
        if apart or proof.fingerprints[0] != proof.fingerprints[1]:
            lines.append(f"  here:     {_told(proof.here)}, fingerprint {proof.fingerprints[1]}")
        else:
            lines.append("  here:     the same")
        lines += _checks(proof)
    if certificate.path is not None:
        lines += [f"path {certificate.path.name}, run {certificate.path.run_id}", *_checks(certificate.path)]
    lines.append(f"trained {certificate.trained}, reused {certificate.reused} in {certificate.seconds:.0f} s")
    if certificate.identical:
        return [*lines, "identical: every recorded bit was made again"]
    first, *others = certificate.findings
    lines.append(f"differs: {first.text}")
    lines += [f"  also: {finding.text}" for finding in others[:4]]
    if len(others) > 4:
        lines.append(f"  and {len(others) - 4} more; --json lists all")
    return lines + [f"likely: {reason}" for reason in certificate.likely]


def _told(identity: Identity) -> str:
    commit = (identity.commit or "no commit")[:12] + ("-dirty" if (identity.commit or "").endswith("-dirty") else "")
    return (
        f"torch {identity.torch}, {identity.numerics}, TRAINING_NUMERICS {identity.training_numerics}, "
        f"data {(identity.data or 'unknown')[:12]}, commit {commit}"
    )


def _checks(proof: Proof) -> list[str]:
    return [f"  {check.name:<18} {_state(check)}" for check in proof.checks]


def _state(check: Check) -> str:
    if check.total == 0:
        return "none recorded"
    if check.total == 1:
        return "identical" if check.equal else "DIFFERS"
    return f"{check.equal} of {check.total} identical" + ("" if check.equal == check.total else "  DIFFERS")
