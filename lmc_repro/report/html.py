"""Renders a document as one HTML file that needs nothing else, for a browser, a phone and a printer."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from importlib.resources import files

from markupsafe import Markup, escape

from lmc_repro.report.figures import COLOURS
from lmc_repro.report.grid import NONE
from lmc_repro.report.model import EVERYWHERE, Block, Curves, Figure, Items, Paragraph, Section, Table, Value, cell_of
from lmc_repro.report.value_figure import VERDICTS

_TABLE = """<div class="scroll" role="region" aria-label="{caption}" tabindex="0">
<table{kind}>
<caption>{caption}</caption>
<thead{group}><tr{row}>{header}</tr></thead>
<tbody{group}>
{rows}
</tbody>
</table>
</div>"""
_VERDICTS = {VERDICTS["disconnected"][0]: "apart"}
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
        images="; img-src data:" if any(f.shown == "png" and not f.linked for f in document.figures()) else "",
        title=document.title,
        style=Markup(style),
        head=_lines(_block(block, 2) for block in blocks if block not in sections),
        contents=_lines(_tag('<li><a href="#{}">{}</a></li>', s.key, s.title) for s in sections),
        body=_lines(_block(section, 2) for section in sections),
    )


def html_part(block: Block) -> str:
    """Return a block for a page of others, such as a notebook; the report's style holds within it alone."""
    style = (files("lmc_repro.report") / "page.css").read_text(encoding="utf-8").replace(":root", "&")
    colours = "background: var(--paper); color: var(--ink)"
    box = '<div class="lmc-part" style="{}">\n<style>.lmc-part {{\n{}}}</style>\n{}\n</div>'
    return _tag(box, colours, Markup(style), _block(block, 3))


def _tag(text: str, *values: object, **named: object) -> Markup:
    """Return HTML with values that are no HTML escaped."""
    return Markup(text).format(*values, **named)


def _lines(parts: Iterable[Markup]) -> Markup:
    return Markup("\n").join(parts)


def _attributes(**values: str) -> Markup:
    """Return attributes of an element, those that have a value."""
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in values.items() if value)
    return Markup("").join(_tag(' {}="{}"', name, value) for name, value in named)


def _block(block: Block, level: int) -> Markup:
    if isinstance(block, Section):
        body = _lines(_block(inner, level + (not block.folded)) for inner in block.shown("html"))
        if not block.folded:
            name = _attributes(id=block.key)
            return _tag("<section{}>\n<h{}>{}</h{}>\n{}\n</section>", name, level, block.title, level, body)
        named = _attributes(class_="long" if block.media != EVERYWHERE else "", id=block.key)
        return _tag("<details{}>\n<summary>{}</summary>\n{}\n</details>", named, block.title, body)
    if isinstance(block, Paragraph):
        return _tag("<p{}>{}</p>", _attributes(class_=block.kind), _inline(block.text))
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
    return Markup("<br>").join([first, *(_tag("<small>{}</small>", line) for line in rest)])


def _table(table: Table) -> Markup:
    """Return a table and its files; one of places is a grid of cells, each with the paper's number of its place.

    A grid says its roles, since styles that stack its rows take them away.
    """

    def named(role: str, **more: str) -> Markup:
        return _attributes(role=role if table.places else "", **more)

    ours = [i for i in range(len(table.header)) if i not in table.paper]
    header = [_tag("<th{}>{}</th>", named("columnheader", scope="col"), table.header[i]) for i in ours]
    rows = []
    for row in table.rows:
        first = named("rowheader", id=cell_of(row[0]).key, scope="row")
        cells = [_tag("<th{}>{}</th>", first, _value(row[0]))]
        for i in ours[1:]:
            cell, inside = cell_of(row[i]), _value(row[i])
            if i + 1 in table.paper and row[i + 1] != NONE:
                inside += _tag('<br><small class="paper">{} {}</small>', table.header[i + 1], row[i + 1])
            if table.places:
                inside = _tag("<div>{}<span>{}</span></div>", _curves(cell.curves), inside) if cell.curves else inside
            label = table.header[i] if table.places else ""
            cells.append(_tag("<td{}>{}</td>", named("cell", data_label=label, class_=cell.kind), inside))
        rows.append(_tag("<tr{}>{}</tr>", named("row"), Markup("").join(cells)))
    tops = {cell.curves.top for row in table.rows for value in row if (cell := cell_of(value)).curves}
    caption = table.caption + "".join(f"; errors along the path, 0 to {top:.0f} %" for top in tops)
    kind = Markup(' class="cells" role="table"') if table.places else ""
    parts = {"group": named("rowgroup"), "row": named("row"), "header": Markup("").join(header), "rows": _lines(rows)}
    made = _tag(_TABLE, caption=caption, kind=kind, **parts)
    return made + _files("Table", *(f"tables/{table.name}.{kind}" for kind in ("csv", "tex"))) if table.name else made


def _curves(curves: Curves) -> Markup:
    """Return small curves that share their scale; alpha runs over 60 units, the error over 40."""
    high = curves.top or 1.0
    drawn = []
    for kind, line in curves.lines:
        places = " ".join(f"{60 * alpha:.0f},{40 - 40 * error / high:.0f}" for alpha, error in line)
        drawn.append(_tag('<polyline class="{}" points="{}"/>', kind, places))
    errors = [error for _, line in curves.lines for _, error in line]
    label = f"errors along the path of {len(drawn)} curves, {min(errors):.1f} to {max(errors):.1f} %"
    box = '<svg viewBox="0 -1 60 42" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    return _tag(box, label, Markup("").join(drawn))


def _files(about: str, *paths: str) -> Markup:
    """Return links that save the files of a table or figure, which lie beside the page."""
    links = []
    for path in paths:
        name, _, kind = path.rpartition("/")[2].rpartition(".")
        hidden = _tag('<span class="hidden"> of {}</span>', name)
        links.append(_tag('<a href="{}" download>{}{}</a>', path, "LaTeX" if kind == "tex" else kind.upper(), hidden))
    return _tag('\n<p class="files">{}: {}</p>', about, Markup(" ").join(links))


def _figure(figure: Figure) -> Markup:
    about = figure.alt.partition(".")[0]
    files = [f"figures/{figure.name}.{kind}" for kind in figure.files]
    if figure.linked:
        return _files("All paths", *files)
    if figure.shown == "png":
        content = base64.b64encode(figure.files["png"]).decode()
        image = _tag('<img src="data:image/png;base64,{}" alt="{}">', content, figure.alt)
    else:
        image = _inline_svg(figure)
    box = '<figure>\n<div class="scroll drawing" role="region" aria-label="{}" tabindex="0">\n{}\n</div>{}\n</figure>'
    caption = _tag("\n<figcaption>{}</figcaption>", _inline(figure.caption)) if figure.caption else Markup("")
    return _tag(box, about, image, caption) + _files("Figure", *files)


def _inline_svg(figure: Figure) -> Markup:
    """Return a figure's SVG as an element of a page: ids of its own, the page's colours, which follow its scheme."""
    svg = figure.files["svg"].decode()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = _ID.sub(f"{figure.name}-", svg)
    for colour, name in {**COLOURS, **_VERDICTS}.items():
        svg = re.sub(colour, f"var(--{name})", svg, flags=re.IGNORECASE)
    head, _, rest = svg.partition(">")
    width = re.search(r'viewBox="0 0 (\d+)', head)
    head = re.sub(r' (?:width|height|xmlns(?::\w+)?|version)="[^"]*"', "", head)
    shown = ' preserveAspectRatio="xMinYMin" class="drawn" style="--width: {}px" role="img" aria-label="{}">'
    return Markup(head) + _tag(shown, width[1] if width else 600, figure.alt) + Markup(rest.strip())
