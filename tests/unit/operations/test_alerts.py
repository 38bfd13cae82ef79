"""Alert rules: promtool reads them and fires each; all name a runbook that is there, and metrics that are."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.measures import MEASURES
from tests.support.promtool import promtool

ROOT = Path(__file__).parents[3]
RULES = ROOT / "configs" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
SERIES = {name for measure in MEASURES.values() for name in measure.told}
BY_PROMETHEUS = {"up"}
PARTS = ("What it means", "Check", "Reading", "Fix", "Verify")


def rules(file: str) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((RULES / file).read_text())["groups"]:
        yield from group["rules"]


ALERTS = list(rules("alerts.yml"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "configs/prometheus/prometheus.yml"),
        ("test", "rules", "tests/unit/operations/alerts.yml"),
        ("test", "rules", "tests/unit/operations/budgets.yml"),
    ],
    ids=["config", "alerts", "budgets"],
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool(), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_fired_by_a_unit_test() -> None:
    tested = "".join((Path(__file__).parent / name).read_text() for name in ("alerts.yml", "budgets.yml"))
    for alert in ALERTS:
        assert f"alertname: {alert['alert']}" in tested or f'alertname="{alert["alert"]}"' in tested, alert["alert"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_what_it_saw_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert "$value" in alert["annotations"]["description"]
    assert (ROOT / alert["annotations"]["runbook_url"]).parent == RUNBOOKS


def test_every_alert_has_a_runbook_that_names_it_and_every_runbook_of_an_alert_an_alert() -> None:
    named: dict[str, set[str]] = {}
    for page in RUNBOOKS.glob("*.md"):
        for name in re.findall(r"`(Prop[A-Z]\w+)`", page.read_text()):
            named.setdefault(name, set()).add(page.name)
    for alert in ALERTS:
        runbook = Path(alert["annotations"]["runbook_url"]).name
        assert runbook in named.get(alert["alert"], set()), f"{runbook} does not name {alert['alert']}"
    assert set(named) == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("page", sorted({alert["annotations"]["runbook_url"] for alert in ALERTS}))
def test_a_runbook_leads_from_the_alert_to_a_fix_that_is_verified(page: str) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert [each for each in headings if each in PARTS] == list(PARTS)


@pytest.mark.parametrize("file", ["rules.yml", "alerts.yml"])
def test_rules_ask_only_for_metrics_that_are_told(file: str) -> None:
    recorded = {rule["record"] for rule in rules("rules.yml")}
    for rule in rules(file):
        asked = set(re.findall(r"prop[_:][\w:]+|\bup\b", rule["expr"]))
        assert asked <= SERIES | recorded | BY_PROMETHEUS, rule
