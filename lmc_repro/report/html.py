"""Renders a document as one HTML file that needs nothing else, for a browser, a phone and a printer."""

from __future__ import annotations

import base64
import re
from functools import partial
from importlib.resources import files

from markupsafe import Markup, escape

from lmc_repro.report.drawing import COLOURS
from lmc_repro.report.model import PAGE, Block, Cell, Figure, Items, Paragraph, Section, Table, Value, cell_of

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'{images}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">To the results</a>
<header>
<h1>{title}</h1>
{head}
<nav aria-label="Contents">
<ul>
{contents}
</ul>
</nav>
</header>
<main id="main">
{body}
</main>
</body>
</html>
""")
_TABLE = Markup("""<div class="scroll" role="region" aria-label="{caption}" tabindex="0">
<table{kind}>
<caption>{caption}</caption>
<thead{group}><tr{row}>{header}</tr></thead>
<tbody{group}>
{rows}
</tbody>
</table>
</div>""")
_ID = re.compile(r'(?<= id=")(?=[^"])|(?<=href="#)|(?<=url\(#)')
_LINES = Markup("\n")


def html_page(document: Section) -> str:
    """Return the page of a document: no script, no request, all text escaped; equal documents give equal text.

    What stands before its first section is the head of the page.
    """
    blocks = list(document.shown("html"))
    sections = [block for block in blocks if isinstance(block, Section) and not block.folded]
    return _PAGE.format(
        images="; img-src data:" if any(figure.shown == "png" for figure in document.figures()) else "",
        title=document.title,
        style=Markup((files("lmc_repro.report") / "page.css").read_text(encoding="utf-8")),
        head=_LINES.join(_block(block, 2) for block in blocks if block not in sections),
        contents=_LINES.join(Markup('<li><a href="#{}">{}</a></li>').format(s.key, s.title) for s in sections),
        body=_LINES.join(_section(section, 2) for section in sections),
    )


def _section(section: Section, level: int) -> Markup:
    inside = partial(_block, level=level + (not section.folded))
    body = _LINES.join(map(inside, section.shown("html")))
    name = Markup(' id="{}"').format(section.key) if section.key else ""
    if section.folded:
        kind = Markup(' class="cell"') if section.media == PAGE else ""
        return Markup("<details{}{}>\n<summary>{}</summary>\n{}\n</details>").format(kind, name, section.title, body)
    text = Markup("<section{}>\n<h{}>{}</h{}>\n{}\n</section>")
    return text.format(name, level, section.title, level, body)


def _block(block: Block, level: int) -> Markup:
    if isinstance(block, Section):
        return _section(block, level)
    if isinstance(block, Paragraph):
        return Markup("<p{}>{}</p>").format(Markup(' class="note"') if block.note else "", _inline(block.text))
    if isinstance(block, Items):
        pairs = (Markup("<dt>{}</dt><dd>{}</dd>").format(name, _value(value)) for name, value in block.pairs)
        return Markup("<dl>\n{}\n</dl>").format(_LINES.join(pairs))
    return _figure(block) if isinstance(block, Figure) else _table(block)


def _inline(text: str) -> Markup:
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def _value(value: Value) -> Markup:
    cell = cell_of(value)
    first, *rest = map(_inline, cell.lines)
    if cell.code:
        return Markup('<code class="filter">{}</code>').format("\n".join(cell.lines))
    if cell.link:
        first = Markup('<a href="{}">{}</a>').format(cell.link, first)
    if cell.strong:
        first = Markup("<strong>{}</strong>").format(first)
    small = (Markup("<small{}>{}</small>").format(_whole(line), line) for line in rest)
    return Markup("<br>").join([first, *small])


def _whole(line: Markup) -> Markup:
    return Markup(' class="whole"') if len(line) < 28 else Markup("")


def _table(table: Table) -> Markup:
    """Return a table; one of places says its roles, since styles that stack its rows take them away."""

    def role(name: str) -> Markup:
        return Markup(' role="{}"').format(name) if table.places else Markup("")

    header = []
    for i, name in enumerate(table.header):
        hidden = Markup('<span class="hidden">, {}</span>').format(table.header[i - 1]) if i in table.paper else ""
        header.append(
            Markup('<th{} scope="col"{}>{}{}</th>').format(role("columnheader"), _paper(table, i), name, hidden)
        )
    rows = []
    for row in table.rows:
        cells = [Markup('<th{} scope="row">{}</th>').format(role("rowheader"), _value(row[0]))]
        for i, value in enumerate(row[1:], start=1):
            label = Markup(' data-label="{}"').format(table.header[i]) if table.places else ""
            mark = Markup(' class="apart"') if isinstance(value, Cell) and value.strong else _paper(table, i)
            cells.append(Markup("<td{}{}{}>{}</td>").format(role("cell"), label, mark, _value(value)))
        rows.append(Markup("<tr{}>{}</tr>").format(role("row"), Markup("").join(cells)))
    return _TABLE.format(
        caption=table.caption,
        kind=Markup(' class="cells" role="table"') if table.places else "",
        group=role("rowgroup"),
        row=role("row"),
        header=Markup("").join(header),
        rows=_LINES.join(rows),
    )


def _paper(table: Table, column: int) -> Markup:
    return Markup(' class="paper"') if column in table.paper else Markup("")


def _figure(figure: Figure) -> Markup:
    if figure.shown == "png":
        content = base64.b64encode(figure.files["png"]).decode()
        image = Markup('<img src="data:image/png;base64,{}" alt="{}">').format(content, figure.alt)
    else:
        image = inline_svg(figure)
    name = figure.alt.partition(".")[0]
    box = Markup('<div class="scroll drawing" role="region" aria-label="{}" tabindex="0">\n{}\n</div>')
    return Markup("<figure>\n{}\n</figure>").format(box.format(name, image))


def inline_svg(figure: Figure) -> Markup:
    """Return a figure's SVG as an element of a page: ids of its own, the page's colours, which follow its scheme."""
    svg = figure.files["svg"].decode()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = _ID.sub(f"{figure.name}-", svg)
    for colour, name in COLOURS.items():
        svg = re.sub(colour, f"var(--{name})", svg, flags=re.IGNORECASE)
    head, _, rest = svg.partition(">")
    width = re.search(r'viewBox="0 0 (\d+)', head)
    size = Markup(' class="drawn" style="--width: {}px" role="img" aria-label="{}">')
    head = re.sub(r' (?:width|height|xmlns(?::\w+)?|version)="[^"]*"', "", head)
    return Markup(head) + size.format(width[1] if width else 600, figure.alt) + Markup(rest.strip())
