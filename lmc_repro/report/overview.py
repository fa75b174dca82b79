"""Every table, figure and appendix of the paper, where it stands in the report, and what came out, one line each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lmc_repro.report.contents import Report, StudyPart
from lmc_repro.report.statements import tally
from lmc_repro.report.words import LEFT_OUT, NO_VERDICT, NOT_RUN, outcome

JUDGED = ("connected", "disconnected", "unequal ends", NO_VERDICT, NOT_RUN)
"""Outcomes of the cells of a profile, in the order of a sentence."""

EXHIBITS = (
    ("Table 1", "linear networks", "table1"),
    ("Table 2", "optimizer and warm-up", "table2"),
    ("Table 3", "parameter counts", "table3"),
    ("Table 4", "test accuracies", "table4"),
    ("Figure 1", "from linear networks to ReLU", "figure1"),
    ("Figure 2", "locality, weight sharing, attention", "figure2"),
    ("Figure 3", "harder tasks", "figure3"),
    ("Figure 4", "batches of loaders", "figure4"),
    ("Figure 5", "ADAM on MLPs", "figure5"),
    ("Text", "logistic regression", "logistic"),
    ("Appendix A", "control of the SGD noise (Figure 4)", "figure4"),
    ("Appendix C", "ablations", "appendix_c"),
    ("Appendix D", "a convolution as one linear layer", "tests/models/test_dense_equivalent.py"),
    ("Appendix E", "data sets of growing difficulty (Figure 3)", "figure3"),
)
"""The paper's exhibit, its subject, and the study or exhibit of this project that remakes it (or a test)."""


@dataclass(frozen=True)
class Line:
    """A line of the overview; `key` is a study or an exhibit of the report, None where it has neither."""

    exhibit: str
    subject: str
    key: str | None
    place: str
    outcome: str


def overview(report: Report) -> list[Line]:
    """Return the paper's exhibits in its order, then what is ours alone."""
    parts = {part.study: part for part in report.parts}
    exhibits = {exhibit.key: exhibit for exhibit in report.exhibits}
    lines: list[Line] = []
    named: set[str] = set()
    for exhibit, subject, key in EXHIBITS:
        if key in named and (key in parts or key in exhibits):
            first = next(line.exhibit for line in lines if line.key == key)
            lines.append(Line(exhibit, subject, key, key, f"See {first}."))
        elif key in parts:
            lines.append(Line(exhibit, subject, key, key, part_outcome(parts[key])))
        elif key in exhibits:
            lines.append(Line(exhibit, subject, key, key, exhibits[key].outcome))
        elif key.startswith("tests/"):
            said = "A test: its weights as one linear layer give equal values and gradients."
            lines.append(Line(exhibit, subject, None, key, said))
        else:
            lines.append(Line(exhibit, subject, None, key, f"{NOT_RUN.capitalize()}: not in this report."))
        named.add(key)
    own = [part for part in report.parts if part.study not in named]
    lines += [Line("Ours", part.title, part.study, part.study, part_outcome(part)) for part in own]
    more = [exhibit for exhibit in report.exhibits if exhibit.key not in named]
    return lines + [Line("Ours", one.section.title, one.key, one.key, one.outcome) for one in more]


def part_outcome(part: StudyPart) -> str:
    """Return what came out of a study, in one sentence: verdicts on test, then statements."""
    if part.table is None:
        return f"{NOT_RUN.capitalize()}: no results."
    counts = Counter(outcome(entry) for entry in part.table.entries)
    judged = [f"{counts[name]} {name}" for name in JUDGED if counts[name]]
    left = counts.pop(LEFT_OUT, 0)
    on = ", ".join(dataset.name for dataset in part.table.results.datasets)
    said = f"{sum(counts.values())} cells{f' on {on}' if on else ''}: {', '.join(judged)}"
    if left:
        said += f" ({left} {LEFT_OUT})"
    if part.findings:
        said += f"; statements: {tally(part.findings)}"
    return f"{said}."
