"""`docs/metrics.md`, written from `measures`: `make metrics` after one of them has changed; a test compares."""

import sys
from collections.abc import Iterable, Iterator

from gateway.measures import ENGINE, GATEWAYS, HTTP, Measure

_HEAD = """# Metrics

`/metrics` of any gateway tells all of this in Prometheus' text format; no token is asked for, so keep it inside.
This page is made from `gateway/measures.py` by `make metrics`.

- **Who counts.** Account actors, persisters and the supervisor add up whole numbers as they work. The supervisor hears
  those of account actors with each pulse (1 s), and the gateway that is scraped asks supervisor, persisters and
  Postgres. What it found is kept for 1 s, what costs Postgres a count of all accounts for 10 s.
- **Who is missing says so.** An answer takes a second or so at most. What has not answered by then is 0 in `prop_up`
  and in nothing else: no stale figure is told. `prop_told_seconds` is the age of the oldest word of a living actor.
- **No label names an account.** `node` is a node of the Ray cluster, over all its account actors, also those that have
  ended: totals never fall, but begin at zero with a new supervisor, which `rate` understands. What an account actor
  counted after its last pulse is lost with it.
- **Several gateways.** On one port (`gateway.processes`) each has its own series of `prop_http_`, told apart by
  `gateway`; all others are the engine's and are told once. Gateways on several addresses tell the engine's each: take
  the `max` over `instance` before you sum, as the rules in `configs/prometheus` do.
- Histograms of seconds have classes up to 30 s, those of HTTP up to 10 s, `prop_commit_events` up to 4,096.

"""


def page() -> str:
    """The page, in Markdown."""
    return _HEAD + "\n".join(
        [*_section("HTTP, by gateway", (*HTTP, GATEWAYS)), "", *_section("The engine", ENGINE), ""]
    )


def _section(title: str, measures: Iterable[Measure]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| Metric | Kind | Labels | What it is |"
    yield "|---|---|---|---|"
    for each in measures:
        name = each.told[0] if each.kind != "histogram" else each.name
        yield f"| `{name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.means} |"


if __name__ == "__main__":
    sys.stdout.write(page())
