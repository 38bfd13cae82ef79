"""Report: a run on one page that needs no network, now or in ten years.

Everything is inside: figures, plots as SVG, style. No script runs, and the page says so to the browser (CSP).
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

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
th:first-child, td:first-child { text-align: left; white-space: normal; } th { color: var(--soft); font-weight: 600; }
.wide { overflow-x: auto; } svg { width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .87rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""
PLOTS: Final = ("equity", "outcomes", "drawdowns", "liquidation", "rejections", "sensitivity")
"""By name, all that there may be."""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


class Plot(NamedTuple):
    """One plot: its name among files, and as the page shows it."""

    name: str
    title: str
    note: str
    svg: str

    @property
    def alone(self) -> str:
        """As a file: on white, since what it is shown on may be dark."""
        return self.svg.replace("<svg ", '<svg style="background: white" ', 1)


def drawn(plan: Plan, summary: Summary) -> list[Plot]:
    """All plots that this run has something for, in the order of the page."""
    with charts.styled():
        return list(_plots(plan, summary))


def page(plan: Plan, summary: Summary, plots: Sequence[Plot], about: Mapping[str, str]) -> str:
    """The whole page. `about`: how the run was asked for, by name, as it stands at the end."""
    return "".join(_page(plan, summary, plots, about))


def _page(plan: Plan, summary: Summary, plots: Sequence[Plot], about: Mapping[str, str]) -> Iterator[str]:
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
    if len(plan.variants) > charts.LINES_MAX:
        some = f"Of {len(plan.variants)} variants plots show {charts.LINES_MAX}, {charts.PANELS_MAX} side by side."
        yield f'<p class="note">{some}</p>'
    yield from map(_section, plots)
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


def _plots(plan: Plan, summary: Summary) -> Iterator[Plot]:
    yield Plot("equity", "Equity", "What accounts were worth at their marks.", charts.equity_fan(summary))
    yield Plot("outcomes", "Outcomes", "Total return of every account at the end.", charts.outcomes(summary))
    yield Plot("drawdowns", "Drawdowns", "The worst that each account saw.", charts.drawdowns(summary))
    odds = "Ended by a floor: the maximum drawdown or a rule."
    yield Plot("liquidation", "Liquidation over time", odds, charts.liquidation_odds(summary))
    refused = charts.rejections(summary)
    if refused is not None:
        gone = sum(summary.rejections(place).get(charts.ENDED, 0) for place in range(len(summary.names)))
        note = f"The first gate that failed. Left out: {gone:,} actions of accounts that had ended."
        yield Plot("rejections", "Rejections by gate", note, refused)
    fields, settings = swept(plan), [dict(variant.settings) for variant in plan.variants]
    note = f"What {' and '.join(fields)} change; all else, chance included, is the same."
    if len(fields) == 1:
        band = charts.sensitivity(summary, fields[0], [each[fields[0]] for each in settings])
        yield Plot("sensitivity", "Sensitivity", note, band)
    elif len(fields) == 2:
        yield Plot("sensitivity", "Sensitivity", f"Share liquidated. {note}", charts.grid(summary, fields, settings))


def _section(plot: Plot) -> str:
    return f'<h2>{escape(plot.title)}</h2><p class="note">{escape(plot.note)}</p>{plot.svg}'
