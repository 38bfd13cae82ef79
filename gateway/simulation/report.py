"""Report: a run on one page that needs no network, now or in ten years.

Everything is inside: figures, plots as SVG, style. No script runs, and the page says so to the browser (CSP).
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from engine.simulation.plan import Plan
from gateway.simulation import charts
from gateway.simulation.summary import Line, Summary, swept

COLUMNS: Final[Sequence[tuple[str, str]]] = (  # of drawdown and Sharpe ratio the median, of fees the mean
    ("variant", "variant"),
    ("accounts", "accounts"),
    ("liquidated", "liquidated"),
    ("completed", "completed"),
    ("return_p5", "return 5 %"),
    ("return_median", "median"),
    ("return_p95", "95 %"),
    ("drawdown_median", "drawdown"),
    ("sharpe_median", "Sharpe"),
    ("fees_mean", "fees"),
    ("fills", "fills"),
    ("rejections", "rejections"),
)
SHARES: Final = frozenset(
    {
        "liquidated",
        "completed",
        "return_p5",
        "return_median",
        "return_p95",
        "return_mean",
        "drawdown_median",
        "drawdown_p95",
    }
)
STYLE: Final = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #59636e; --line: #d8dde3; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .2rem; }
p.note { color: var(--soft); margin: 0 0 .6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .82rem; }
th, td { text-align: right; padding: .25rem .4rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
.wide { overflow-x: auto; } svg { width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .87rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(plan: Plan, summary: Summary, about: Mapping[str, str]) -> str:
    """The whole page. `about`: how the run was asked for, by name, as it stands at the end."""
    with charts.styled():
        return "".join(_page(plan, summary, about))


def _page(plan: Plan, summary: Summary, about: Mapping[str, str]) -> Iterator[str]:
    ticks, symbols = plan.prices.ticks, len(plan.prices.symbols)
    title = f"{plan.size:,} accounts over {ticks:,} ticks"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Simulation: {title}</title><style>{STYLE}</style></head><body>"
    first, last = summary.times[0], summary.times[-1]
    yield f"<h1>{title}</h1>"
    when = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    yield f'<p class="note">{symbols} symbols, {when}, {escape(plan.engine)} engine.</p>'
    yield '<h2>Outcome</h2><p class="note">Of drawdown and Sharpe ratio the median, of fees the mean.</p>'
    yield '<div class="wide">'
    yield table(summary.lines())
    yield "</div>"
    yield from _section("Equity", "What accounts were worth at their marks.", charts.equity_fan(summary))
    yield from _section("Outcomes", "Total return of every account at the end.", charts.outcomes(summary))
    yield from _section("Drawdowns", "The worst that each account saw.", charts.drawdowns(summary))
    odds = "Ended by a floor: the maximum drawdown or a rule."
    yield from _section("Liquidation over time", odds, charts.liquidation_odds(summary))
    refused = charts.rejections(summary)
    if refused is not None:
        yield from _section("Rejections by gate", "The first gate that failed.", refused)
    if len(swept(plan)) == 1:
        field = swept(plan)[0]
        drawn = charts.sensitivity(summary, field, [dict(variant.settings)[field] for variant in plan.variants])
        yield from _section("Sensitivity", f"What {field} changes; all else, chance included, is the same.", drawn)
    yield "<h2>How it was run</h2><dl>"
    yield from (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in about.items())
    yield "</dl></body></html>\n"


def table(lines: Sequence[Line]) -> str:
    head = "".join(f"<th>{title}</th>" for _, title in COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(shown(line, name))}</td>" for name, _ in COLUMNS) + "</tr>" for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def shown(line: Line, name: str) -> str:
    """A figure as people read it: shares in per cent, money in whole units."""
    value = getattr(line, name)
    if value is None:
        return "-"
    if name in SHARES:
        return f"{value:.1%}"
    return f"{value:.2f}" if name == "sharpe_median" else f"{value:,.0f}" if isinstance(value, int | float) else value


def _section(title: str, note: str, drawn: str) -> Iterator[str]:
    yield f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{drawn}'
