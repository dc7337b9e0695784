"""Draws a summary as SVG: what became of the runs of each scenario, and how long pages took."""

from __future__ import annotations

from html import escape

from benchmarks.anomaly.report import Row, Summary, per_100

COLOURS = {"page": "#b3261e", "warning": "#e8a33d", "notice": "#8ab4d8", "nothing": "#e3e3e3"}
_LEFT, _WIDTH, _LINE, _TOP = 300, 480, 24, 70


def draw(summary: Summary) -> str:
    """The picture as a text."""
    height = _TOP + _LINE * (len(summary.rows) + 1) + 70
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" font-family="sans-serif" font-size="13" role="img">',
        "<title>Anomaly detection by scenario</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="16" y="28" font-size="18">Anomaly detection by scenario</text>',
    ]
    for index, (name, colour) in enumerate(COLOURS.items()):
        x = _LEFT + 110 * index
        parts.append(f'<rect x="{x}" y="42" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="53">{name}</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH + 12}" y="53">median page</text>')
    y = _TOP
    for position, row in enumerate(summary.rows):
        if position and not row.scenario.attack and summary.rows[position - 1].scenario.attack:
            y += _LINE
        parts += _bar(row, y)
        y += _LINE
    benign = summary.benign_days
    pages, warnings = per_100(summary.false_pages, benign), per_100(summary.false_warnings, benign)
    foot = f"Precision of pages {summary.precision:.3f}; without an attack {pages:.2f} pages and {warnings:.2f} warnings by 100 key-days"
    parts.append(f'<text x="16" y="{y + 32}">{foot} ({benign:.0f} in all).</text>')
    parts.append("</svg>\n")
    return "\n".join(parts)


def _bar(row: Row, y: int) -> list[str]:
    counts = {
        "page": row.pages,
        "warning": row.warnings,
        "notice": row.notices,
        "nothing": row.runs - row.pages - row.warnings - row.notices,
    }
    parts = [f'<text x="16" y="{y + 14}">{row.scenario.code}</text><text x="54" y="{y + 14}">{escape(row.scenario.title)}</text>']
    x = float(_LEFT)
    for name, count in counts.items():
        width = _WIDTH * count / row.runs
        if count:
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18" fill="{COLOURS[name]}"><title>{name} {count}</title></rect>'
            )
        x += width
    if row.scenario.recall is not None:
        mark = _LEFT + _WIDTH * row.scenario.recall
        parts.append(f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="{y - 2}" y2="{y + 20}" stroke="#000000" stroke-width="1.5"/>')
    if row.delay is not None and row.scenario.attack:
        parts.append(f'<text x="{_LEFT + _WIDTH + 12}" y="{y + 14}">{row.delay:.0f} s</text>')
    return parts
