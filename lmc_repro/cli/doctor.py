"""`lmc doctor`: prints the findings, for people or as JSON."""

from __future__ import annotations

import dataclasses
import json

from lmc_repro.doctor.examine import examine
from lmc_repro.doctor.finding import Finding, needs_mending
from lmc_repro.doctor.system import managers

_MARKS = {"ok": "ok", "info": "-", "warning": "WARN", "missing": "MISSING"}


def doctor_command(fix_runs: bool, as_json: bool) -> int:
    """Print what was found and return the exit code: 1 if something that is needed is missing."""
    findings = examine(fix_runs)
    if as_json:
        answer = {"ok": not needs_mending(findings), "findings": [dataclasses.asdict(f) for f in findings]}
        print(json.dumps(answer, indent=2))
    else:
        _print(findings)
    return 1 if needs_mending(findings) else 0


def _print(findings: list[Finding]) -> None:
    shown = managers()
    for section in dict.fromkeys(finding.section for finding in findings):
        print(section)
        for finding in (f for f in findings if f.section == section):
            print(f"  {_MARKS[finding.state]:7} {finding.name}: {finding.detail}")
            if finding.mend:
                print(f"          -> {finding.mend}")
            if finding.state != "info":
                for manager in shown:
                    if command := finding.install.get(manager):
                        print(f"          -> {manager}: {command}")
    missing = sum(finding.state == "missing" for finding in findings)
    warnings = sum(finding.state == "warning" for finding in findings)
    print(f"{missing} missing, {warnings} to mend" if missing or warnings else "all that is needed is here")
