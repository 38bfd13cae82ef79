"""What a run leaves: whole files or none, figures that add up, and a page that needs nothing but itself."""

import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from engine.simulation import results
from engine.simulation.plan import Plan, Variant
from engine.simulation.simulate import chunks
from engine.simulation.synthetic import synthetic
from engine.simulation.traders import TRADERS, Random
from gateway.simulation import report
from gateway.simulation.summary import Summary
from gateway.simulation.writing import Folder
from tests.support.ledger_page import policy


def plan(**settings: Any) -> Plan:
    variants = tuple(
        Variant(
            name=f"max_leverage {most}",
            policy=policy(max_leverage=most, max_drawdown="0.1"),
            settings=(("max_leverage", str(most)),),
        )
        for most in (1, 5, 10)
    )
    given: dict[str, Any] = {"prices": synthetic(5, ticks=300), "acting": Random, "variants": variants, "accounts": 6}
    return Plan(**given | settings)


def page(made: Plan, summary: Summary, about: dict[str, str]) -> str:
    return report.page(made, summary, report.drawn(made, summary), about)


@pytest.fixture(scope="module")
def gathered() -> tuple[Plan, Summary, dict[str, Any]]:
    made, parts = plan(), []
    summary = Summary(made)
    for tables in chunks(made):
        summary.add(tables)
        parts.append(tables)
    return made, summary, results.joined(parts)


def test_lines_are_what_the_tables_say(gathered: tuple[Plan, Summary, dict[str, Any]]) -> None:
    _, summary, tables = gathered
    rows = tables["accounts"].to_pylist()
    for place, line in enumerate(summary.lines()):
        mine = [row for row in rows if row["variant"] == line.variant]
        assert line.accounts == len(mine) == 6
        assert line.liquidated == pytest.approx(sum(row["status"] == "liquidated" for row in mine) / 6)
        assert line.return_median == pytest.approx(float(np.median([row["total_return"] for row in mine])))
        assert line.rejections == sum(row["rejected"] for row in mine) == sum(summary.rejections(place).values())
        assert line.fills == sum(row["fills"] for row in mine)
    assert summary.lines()[0].liquidated > 0


def test_the_fan_ends_where_the_accounts_do(gathered: tuple[Plan, Summary, dict[str, Any]]) -> None:
    made, summary, tables = gathered
    assert len(summary.times) == len(summary.ticks) <= 200
    assert summary.ticks[-1] == made.prices.ticks - 1
    ends = [float(each) for each in tables["accounts"]["equity"].to_pylist()[:6]]
    assert summary.fan(0)[2][-1] == pytest.approx(np.median(ends))
    gone = summary.gone(2)
    assert gone[-1] == pytest.approx(summary.lines()[2].liquidated)
    assert (np.diff(gone) >= 0).all()


def test_the_page_has_all_plots_and_asks_nobody_for_anything(gathered: tuple[Plan, Summary, dict[str, Any]]) -> None:
    made, summary, _ = gathered
    drawn = page(made, summary, {"prices": "synthetic:5 <script>"})
    for title in ("Equity", "Outcomes", "Drawdowns", "Liquidation over time", "Rejections by gate", "Sensitivity"):
        assert f"<h2>{title}</h2>" in drawn
    assert drawn.count("<svg") == 6
    assert "<script" not in drawn
    assert "default-src 'none'" in drawn
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", drawn))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names, not places to go to"
    assert not re.search(r"<(link|img|iframe|script)|url\((?!#)|@import|src=|data:", drawn)
    assert drawn == page(made, summary, {"prices": "synthetic:5 <script>"}), "the same run is the same page"


def test_a_page_can_be_drawn_of_accounts_that_did_nothing() -> None:
    made = plan(acting=TRADERS["idle"], variants=(Variant(name="policy", policy=None),))
    summary = Summary(made)
    for tables in chunks(made):
        summary.add(tables)
    drawn = page(made, summary, {})
    assert drawn.count("<svg") == 4
    assert "Rejections" not in drawn


def test_a_page_of_many_variants_draws_some_lines_and_the_whole_grid() -> None:
    figures = [(str(most), str(fee)) for most in (1, 5, 10) for fee in (0, 5, 20)]
    variants = tuple(
        Variant(
            name=f"max_leverage {most}, fee_bps {fee}",
            policy=policy(max_leverage=most, fee_bps=fee),
            settings=(("max_leverage", most), ("fee_bps", fee)),
        )
        for most, fee in figures
    )
    made = plan(variants=variants, accounts=2, prices=synthetic(5, ticks=60))
    summary = Summary(made)
    for tables in chunks(made):
        summary.add(tables)
    drawn = page(made, summary, {})
    assert "Of 9 variants plots show 6, 4 side by side." in drawn
    assert drawn.count("%</text>") >= 9, "a cell of the grid for each"
    assert "data:image" not in drawn, "the page's own policy would not show it"


def test_a_folder_holds_the_whole_run(tmp_path: Path, gathered: tuple[Plan, Summary, dict[str, Any]]) -> None:
    made, _, tables = gathered
    with Folder(tmp_path / "run") as folder:
        for part in chunks(made):
            folder.add(part)
        folder.put("report.html", "page")
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == sorted([*(f"{name}.parquet" for name in tables), "report.html"])
    for name, table in tables.items():
        read = parquet.read_table(tmp_path / "run" / f"{name}.parquet")
        assert read.to_pylist() == table.to_pylist()


def test_a_folder_holds_one_run_and_what_is_not_of_a_run(tmp_path: Path) -> None:
    made = plan(accounts=1, prices=synthetic(5, ticks=6))
    for name in ("verdicts.parquet", "sensitivity.svg", "notes.txt"):
        (tmp_path / name).write_text("of an earlier run, or of somebody")
    with Folder(tmp_path, ["report.html", "sensitivity.svg"]) as folder:
        folder.add(results.joined(chunks(made)))
        folder.put("report.html", "page")
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{name}.parquet" for name in results.TABLES),
        "report.html",
        "notes.txt",
    }


class Full:
    """A disk without room for one table's end."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_at_the_end_leaves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "fills.parquet").write_text("of an earlier run")

    def full() -> None:
        with Folder(tmp_path) as folder:
            folder.add(next(iter(chunks(plan(accounts=1)))))
            folder._writers["equity"].close()
            folder._writers["equity"] = Full()

    with pytest.raises(OSError, match="No space left"):
        full()
    assert [path.name for path in tmp_path.iterdir()] == ["fills.parquet"]


def test_a_run_that_was_stopped_leaves_nothing_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "fills.parquet").write_text("of an earlier run")

    def stopped() -> None:
        with Folder(tmp_path) as folder:
            folder.add(next(iter(chunks(plan()))))
            folder.put("report.html", "page")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [path.name for path in tmp_path.iterdir()] == ["fills.parquet"]
