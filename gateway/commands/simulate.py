"""`prop simulate`: many accounts under recorded, real or made prices, by the rules of production."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from gateway.commands import options
from gateway.commands.terminal import CommandError, ProgressLine, print_json, print_line, print_table

if TYPE_CHECKING:
    from engine.book import AccountBook
    from engine.simulation.plan import Plan
    from gateway.simulation.summary import Line
    from gateway.simulation.writing import Folder

STOPPED: Final = 130
"""Exit code of a run that was stopped with Ctrl-C, as a shell shows it: 128 + SIGINT."""
REPORT: Final = "report.html"

Prices = Annotated[
    str,
    typer.Option(
        "--prices",
        metavar="SOURCE",
        help="real[:SYMBOL,...] (bundled daily bars); synthetic:SEED[:REGIME,...] with the regimes calm, trend, crash, "
        "gap, frozen, missing; or a .csv or .parquet of time, symbol, bid, ask[, mid] or of time, symbol, close.",
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="buy-and-hold, momentum, random, dip-buyer, idle; random-entries, crossover (scripts: for either engine); "
        "or module:Class of yours.",
    ),
]
Actions = Annotated[
    Path | None,
    typer.Option(
        "--actions", metavar="FILE", help="Recorded actions (.csv, .parquet) instead of a strategy.", show_default=False
    ),
]
Accounts = Annotated[int, typer.Option("--accounts", metavar="N", min=1, help="Of each variant of the sweep.")]
Policy = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="FILE|FIELD=VALUE",
        help="A policy as the API takes it (JSON), or one figure of it; may be repeated.",
        show_default=False,
    ),
]
Sweep = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="FIELD=A,B,...",
        help="Run all accounts once for each figure; may be repeated, for every combination.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of chance: one seed is one run.")]
Ticks = Annotated[
    int | None,
    typer.Option("--ticks", metavar="N", min=1, help="How many synthetic ticks, or at most.", show_default=False),
]
MarkEvery = Annotated[int, typer.Option("--mark-every", metavar="N", min=1, help="Ticks from mark to mark.")]
EquityEvery = Annotated[int, typer.Option("--equity-every", metavar="N", min=1, help="Marks from kept equity to kept.")]
Balance = Annotated[
    str | None,
    typer.Option(
        "--starting-balance", metavar="MONEY", help="Of every account; 100000 unless told.", show_default=False
    ),
]
HalfSpread = Annotated[
    str | None,
    typer.Option("--half-spread-bps", metavar="BPS", help="Around the closes of bars.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Cores: 1 unless told, above it on a Ray of its own; of a cluster all unless told.",
        show_default=False,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="HOST:PORT", help="A cluster to run on instead.", show_default=False),
]
Engine = Annotated[
    Literal["exact", "fast"],
    typer.Option("--engine", help="exact: the live core. fast: a compiled kernel, for scripts and --actions."),
]
FromAccount = Annotated[
    str | None,
    typer.Option(
        "--from-account", metavar="ID", help="All go on from this account, as its ledger has it.", show_default=False
    ),
]
AtSeq = Annotated[
    int | None,
    typer.Option("--at-seq", metavar="N", min=1, help="After that event of its ledger; the last.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Parquet tables, report.html and its plots as .svg go here.", show_default=False
    ),
]


def simulate(
    prices: Prices = "real",
    strategy: Strategy = "momentum",
    actions: Actions = None,
    accounts: Accounts = 100,
    policy: Policy = None,
    sweep: Sweep = None,
    engine: Engine = "exact",
    seed: Seed = 0,
    ticks: Ticks = None,
    mark_every: MarkEvery = 1,
    equity_every: EquityEvery = 1,
    starting_balance: Balance = None,
    half_spread_bps: HalfSpread = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    from_account: FromAccount = None,
    at_seq: AtSeq = None,
    data_dir: options.DataDir = None,
    database_url: options.DatabaseUrl = None,
    out: Out = None,
    json: options.AsJson = False,
) -> None:
    """Run many accounts under real, made or recorded prices, by the very rules of production; no table is touched.

    Prints a line a variant. With --out it writes Parquet tables (accounts, equity, fills, rejections, liquidations) and
    a report with plots that needs no network. Ctrl-C stops it and leaves nothing half written.

    \b
    prop simulate --prices real --strategy momentum --accounts 100 --out study
    prop simulate --prices synthetic:7:calm,crash --strategy random --accounts 500 --workers 2
    prop simulate --sweep fee_bps=0,5,10,20 --policy max_leverage=3 --out fees
    prop simulate --engine fast --strategy random-entries --accounts 10000 --sweep max_drawdown=0.1,0.2,0.3
    prop simulate --prices ticks.parquet --actions actions.csv --json
    prop simulate --strategy my_module:MyStrategy --policy policy.json
    prop simulate --from-account 0198c5a2-... --at-seq 120 --prices synthetic:7:crash --accounts 200
    """
    with _refusals(), _stopping():
        from gateway.simulation.asked import Asked, about, plan

        asked = Asked(
            prices=prices,
            strategy=strategy,
            actions=actions,
            accounts=accounts,
            policy=policy or (),
            sweep=sweep or (),
            engine=engine,
            seed=seed,
            ticks=ticks,
            mark_every=mark_every,
            equity_every=equity_every,
            starting_balance=starting_balance,
            half_spread_bps=half_spread_bps,
        )
        if at_seq is not None and from_account is None:
            raise CommandError("--at-seq is a place in the ledger of an account: name it with --from-account")
        origin = None if from_account is None else _origin(from_account, at_seq, data_dir, database_url)
        made = plan(asked, origin)
        lines, seconds = _carried_out(made, about(asked, made), workers, ray_address, out)
    if json:
        print_json(_figures(made, lines, seconds, out))
    else:
        _print(made, lines, seconds, out)


def _carried_out(
    made: "Plan", about: Mapping[str, str], workers: int | None, ray_address: str | None, out: Path | None
) -> "tuple[list[Line], float]":
    """Run it, write what it makes, and say what it came to and how long it took."""
    from gateway.simulation.running import Pace, run
    from gateway.simulation.summary import Summary

    summary, line = Summary(made), ProgressLine()
    if made.engine == "fast":
        from engine.simulation.chunks import prepare

        prepare(lambda: line.say("compiling the kernel, once on this machine: ten seconds or so"))
    pace = Pace(line.say)
    try:
        with contextlib.nullcontext() if out is None else _folder(out) as folder:
            for tables in run(made, workers=workers, address=ray_address, on_progress=pace):
                summary.add(tables)
                if folder is not None:
                    folder.add(tables)
            if folder is not None:
                from gateway.simulation.report import drawn, page

                line.say("drawing the report")
                plots = drawn(made, summary)
                folder.put(REPORT, page(made, summary, plots, about))
                for plot in plots:
                    folder.put(f"{plot.name}.svg", plot.alone)
        return summary.lines(), pace.seconds
    finally:
        line.clear()


def _folder(out: Path) -> "Folder":
    from gateway.simulation.report import PLOTS
    from gateway.simulation.writing import Folder

    return Folder(out, [REPORT, *(f"{plot}.svg" for plot in PLOTS)])


def _origin(account_id: str, at_seq: int | None, data_dir: Path | None, database_url: str | None) -> "AccountBook":
    """The account as its ledger has it at that place."""
    from gateway.commands.place import database_of, settings_of

    settings = settings_of(data_dir)
    with database_of(settings, database_url) as database:
        found = asyncio.run(_rewound(database, account_id, at_seq))
    if found is None:
        raise CommandError(f"there is no account {account_id}")
    return found


async def _rewound(database: str, account_id: str, at_seq: int | None) -> "AccountBook | None":
    from persistence.postgres_store import PostgresStore
    from persistence.recovery import LedgerBroken
    from persistence.rewinding import book_at
    from persistence.store import StoreUnavailable

    async with PostgresStore.connect(database, application_name="prop-simulate", pool_size_max=1) as store:
        try:
            return await book_at(store, account_id, at_seq)
        except (LedgerBroken, StoreUnavailable) as error:
            raise CommandError(str(error)) from None


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What cannot be simulated, said in a line."""
    from engine.simulation.faults import BadInput, ShardLost, StrategyFailed

    try:
        yield
    except ImportError as missing:
        raise CommandError(f"{missing}: pip install 'prop-engine[simulation]'") from None
    except BadInput as refused:
        raise CommandError(f"{refused.detail} ({refused.code})") from None
    except (StrategyFailed, ShardLost) as failed:
        raise CommandError(str(failed)) from None
    except OSError as error:
        raise CommandError(f"cannot write: {error}") from None


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """SIGTERM is heard as Ctrl-C is; either ends the run, and what was half written is taken away on the way out."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("stopped; nothing was written", STOPPED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _figures(made: "Plan", lines: "Sequence[Line]", seconds: float, out: Path | None) -> dict[str, Any]:
    import msgspec

    return {
        "accounts": made.size,
        "ticks": made.prices.ticks,
        "engine": made.engine,
        "seed": made.seed,
        "seconds": round(seconds, 3),
        "out": None if out is None else str(out),
        "variants": [msgspec.to_builtins(line) for line in lines],
    }


def _print(made: "Plan", lines: "Sequence[Line]", seconds: float, out: Path | None) -> None:
    from gateway.simulation.report import COLUMNS, shown

    titles = [title for _, title in COLUMNS]
    rows = [[shown(line, name) for name, _ in COLUMNS] for line in lines]
    print_table(titles, rows, right=titles[1:])
    rate = made.cells / max(seconds, 1e-9)
    print_line(
        f"{made.size:,} accounts over {made.prices.ticks:,} ticks in {seconds:.1f} s: {rate:,.0f} cells a second"
    )
    if out is not None:
        print_line(f"tables and {REPORT} are in {out}")
