"""Renders a document as one HTML file that needs nothing else, for a browser, a phone and a printer."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from importlib.resources import files

from markupsafe import Markup, escape

from lmc_repro.report.figures import COLOURS
from lmc_repro.report.model import PAGE, Block, Cell, Figure, Items, Paragraph, Section, Table, Value, cell_of

_TABLE = """<div class="scroll" role="region" aria-label="{caption}" tabindex="0">
<table{kind}>
<caption>{caption}</caption>
<thead{group}><tr{row}>{header}</tr></thead>
<tbody{group}>
{rows}
</tbody>
</table>
</div>"""
_ID = re.compile(r'(?<= id=")(?=[^"])|(?<=href="#)|(?<=url\(#)')


def html_page(document: Section) -> str:
    """Return the page of a document: no script, no request, all text escaped; equal documents give equal text.

    The blocks before its first section are the head of the page.
    """
    blocks = document.shown("html")
    sections = [block for block in blocks if isinstance(block, Section) and not block.folded]
    page, style = ((files("lmc_repro.report") / name).read_text(encoding="utf-8") for name in ("page.html", "page.css"))
    return _tag(
        page,
        images="; img-src data:" if any(figure.shown == "png" for figure in document.figures()) else "",
        title=document.title,
        style=Markup(style),
        head=_lines(_block(block, 2) for block in blocks if block not in sections),
        contents=_lines(_tag('<li><a href="#{}">{}</a></li>', s.key, s.title) for s in sections),
        body=_lines(_block(section, 2) for section in sections),
    )


def _tag(text: str, *values: object, **named: object) -> Markup:
    """Return HTML with values that are no HTML escaped."""
    return Markup(text).format(*values, **named)


def _lines(parts: Iterable[Markup]) -> Markup:
    return Markup("\n").join(parts)


def _block(block: Block, level: int) -> Markup:
    if isinstance(block, Section):
        body = _lines(_block(inner, level + (not block.folded)) for inner in block.shown("html"))
        name = _tag(' id="{}"', block.key) if block.key else ""
        if not block.folded:
            return _tag("<section{}>\n<h{}>{}</h{}>\n{}\n</section>", name, level, block.title, level, body)
        kind = Markup(' class="cell"') if block.media == PAGE else ""
        return _tag("<details{}{}>\n<summary>{}</summary>\n{}\n</details>", kind, name, block.title, body)
    if isinstance(block, Paragraph):
        return _tag("<p{}>{}</p>", Markup(' class="note"') if block.note else "", _inline(block.text))
    if isinstance(block, Items):
        return _tag("<dl>\n{}\n</dl>", _lines(_tag("<dt>{}</dt><dd>{}</dd>", n, _value(v)) for n, v in block.pairs))
    return _figure(block) if isinstance(block, Figure) else _table(block)


def _inline(text: str) -> Markup:
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(_tag("<code>{}</code>", part) if i % 2 else part for i, part in enumerate(parts))


def _value(value: Value) -> Markup:
    cell = cell_of(value)
    if cell.code:
        return _tag('<code class="filter">{}</code>', "\n".join(cell.lines))
    first, *rest = map(_inline, cell.lines)
    if cell.link:
        first = _tag('<a href="{}">{}</a>', cell.link, first)
    if cell.strong:
        first = _tag("<strong>{}</strong>", first)
    small = (_tag("<small{}>{}</small>", Markup(' class="whole"') if len(line) < 28 else "", line) for line in rest)
    return Markup("<br>").join([first, *small])


def _table(table: Table) -> Markup:
    """Return a table; one of places says its roles, since styles that stack its rows take them away."""

    def role(name: str) -> Markup:
        return _tag(' role="{}"', name) if table.places else Markup("")

    papers = [Markup(' class="paper"' if i in table.paper else "") for i in range(len(table.header))]
    labels = [_tag(' data-label="{}"', name) if table.places else "" for name in table.header]
    header = []
    for i, name in enumerate(table.header):
        hidden = _tag('<span class="hidden">, {}</span>', table.header[i - 1]) if i in table.paper else ""
        header.append(_tag('<th{} scope="col"{}>{}{}</th>', role("columnheader"), papers[i], name, hidden))
    rows = []
    for row in table.rows:
        cells = [_tag('<th{} scope="row">{}</th>', role("rowheader"), _value(row[0]))]
        for value, label, paper in zip(row[1:], labels[1:], papers[1:], strict=True):
            mark = Markup(' class="apart"') if isinstance(value, Cell) and value.strong else paper
            cells.append(_tag("<td{}{}{}>{}</td>", role("cell"), label, mark, _value(value)))
        rows.append(_tag("<tr{}>{}</tr>", role("row"), Markup("").join(cells)))
    return _tag(
        _TABLE,
        caption=table.caption,
        kind=Markup(' class="cells" role="table"') if table.places else "",
        group=role("rowgroup"),
        row=role("row"),
        header=Markup("").join(header),
        rows=_lines(rows),
    )


def _figure(figure: Figure) -> Markup:
    if figure.shown == "png":
        content = base64.b64encode(figure.files["png"]).decode()
        image = _tag('<img src="data:image/png;base64,{}" alt="{}">', content, figure.alt)
    else:
        image = _inline_svg(figure)
    box = '<figure>\n<div class="scroll drawing" role="region" aria-label="{}" tabindex="0">\n{}\n</div>\n</figure>'
    return _tag(box, figure.alt.partition(".")[0], image)


def _inline_svg(figure: Figure) -> Markup:
    """Return a figure's SVG as an element of a page: ids of its own, the page's colours, which follow its scheme."""
    svg = figure.files["svg"].decode()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = _ID.sub(f"{figure.name}-", svg)
    for colour, name in COLOURS.items():
        svg = re.sub(colour, f"var(--{name})", svg, flags=re.IGNORECASE)
    head, _, rest = svg.partition(">")
    width = re.search(r'viewBox="0 0 (\d+)', head)
    head = re.sub(r' (?:width|height|xmlns(?::\w+)?|version)="[^"]*"', "", head)
    size = _tag(
        ' class="drawn" style="--width: {}px" role="img" aria-label="{}">', width[1] if width else 600, figure.alt
    )
    return Markup(head) + size + Markup(rest.strip())
