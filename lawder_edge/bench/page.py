"""A benchmark as one HTML page without outside resources. Pure functions."""

from __future__ import annotations

from html import escape

from lawder_edge.bench import charts
from lawder_edge.bench.report import HEADINGS, NUMERIC, header, notes, table
from lawder_edge.bench.rows import BenchReport

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1400px;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:0 0 .5rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}
th{cursor:pointer;background:#f4f4f4;position:sticky;top:0}th:after{content:" \\2195";color:#aaa}
td.n,th.n{text-align:right}tr:hover td{background:#f8fbff}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:1.5rem;margin:1.5rem 0}
figure{margin:0;border:1px solid #ddd;border-radius:6px;padding:1rem}figcaption{color:#555;font-size:13px}
svg{width:100%;height:auto}.legend{list-style:none;padding:0;margin:.5rem 0;display:flex;flex-wrap:wrap;gap:.2rem 1rem}
.legend span{display:inline-block;width:1em;height:.7em;margin-right:.4em}.legend{font-size:12px}
.warning{background:#fff4e0;border-left:4px solid #e69f00;padding:.5rem 1rem;margin:.5rem 0}
.small{color:#555;font-size:13px}
"""

# Numbers sort as numbers, what is missing stands last, and a second click turns the order.
_SCRIPT = """
document.querySelectorAll("th").forEach((th, i) => th.addEventListener("click", () => {
  const body = th.closest("table").tBodies[0], up = th.dataset.up !== "1";
  th.dataset.up = up ? "1" : "0";
  const key = row => {
    const text = row.cells[i].textContent.trim(), n = parseFloat(text.replaceAll(",", ""));
    return text === "-" ? null : Number.isNaN(n) || !th.classList.contains("n") ? text : n;
  };
  [...body.rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (x === null || y === null) return (x === null) - (y === null);
    return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
  }).forEach(row => body.append(row));
}));
"""


def to_html(report: BenchReport) -> str:
    """The whole page: table that sorts by a click, charts, notes."""
    above = "".join(f'<p class="small">{escape(line)}</p>' for line in header(report))
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in report.warnings)
    below = "".join(
        f'<li class="small">{escape(line)}</li>' for line in notes(report) if not line.startswith("warning:")
    )
    figures = "".join(
        f"<figure><h2>{escape(name)}</h2>{chart}<figcaption>{escape(text)}</figcaption></figure>"
        for name, chart, text in (
            ("Latency", charts.latency_cdf(report), "Every counted call of the bare network."),
            ("Dice against latency", charts.pareto(report), "Dice of the certificates; further left and up is better."),
            ("Roofline", charts.roofline(report), "By the architecture's own FLOPs and bytes, in float32."),
            ("Memory", charts.memory(report), "The most that was resident above what was before loading."),
        )
        if chart
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>lawder-edge bench</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body><h1>lawder-edge bench</h1>{warnings}"
        f'<div class="wide">{_table(report)}</div><div class="charts">{figures}</div>'
        f"{above}<ul>{below}</ul><script>{_SCRIPT}</script></body></html>\n"
    )


def _table(report: BenchReport) -> str:
    def line(texts: tuple[str, ...], tag: str) -> str:
        inner = "".join(
            f"<{tag}{' class=n' if i in NUMERIC else ''}>{escape(text)}</{tag}>" for i, text in enumerate(texts)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(line(row, "td") for row in table(report))
    return f"<table><thead>{line(HEADINGS, 'th')}</thead><tbody>{body}</tbody></table>"
