"""The client against the whole engine: every method's example does what it says, and every operation has a method."""

import ast
import asyncio
import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.routes import ROUTES
from persistence.embedded import EmbeddedPostgres
from prop import AsyncProp, Prop, StreamedEvent, close, open_
from tests.e2e.gateway.conftest import BOOTSTRAP, gateway_on
from tests.e2e.gateway.door import Door
from tests.e2e.gateway.threaded import gateway_in_a_thread
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

STORY = ("create_account", "start", "decide")
"""What other examples build on; the rest comes in any order."""
FOR_MACHINES = {"/metrics", "/openapi.json", "/docs"}
GUIDE = Path(__file__).parents[3] / "docs" / "client.md"


def examples() -> list[tuple[str, doctest.Example]]:
    methods = {name: each for name, each in inspect.getmembers(AsyncProp, callable) if not name.startswith("_")}
    del methods["close"]
    ordered = [*STORY, *sorted(set(methods) - set(STORY))]
    found = [(name, doctest.DocTestParser().get_examples(inspect.getdoc(methods[name]) or "")) for name in ordered]
    assert all(each for _, each in found), [name for name, each in found if not each]
    return [(name, example) for name, each in found for example in each]


async def run(source: str, names: dict[str, Any]) -> Any:
    """Run code that may await; the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body[-1]
    if isinstance(last, ast.Expr) and not source.lstrip().startswith("async"):
        tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], last.value)
    code = compile(ast.fix_missing_locations(tree), "<example>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names["_"] = None
    if inspect.iscoroutine(pending := eval(code, names)):
        await pending
    return names["_"]


async def test_every_example_does_what_it_says_and_every_operation_has_a_method(
    door: Door, capsys: pytest.CaptureFixture[str]
):
    async with AsyncProp(door.url, BOOTSTRAP) as client:
        names: dict[str, Any] = {"prop": client, "open_": open_, "close": close}
        with structlog.testing.capture_logs() as lines:
            for name, example in examples():
                capsys.readouterr()
                value = await run(example.source, names)
                said = capsys.readouterr().out or ("" if value is None else f"{value!r}\n")
                assert said == (example.want or said), name
    called = {(line["method"], line["route"]) for line in lines if line["event"] == "request"}
    # A stream is logged when it ends, after the client has left.
    called.add(("GET", "/api/v1/prop/events"))
    missing = {(route.method, route.path) for route in ROUTES if route.path not in FOR_MACHINES} - called
    assert not missing, f"operations without a method of the client whose example calls it: {missing}"


async def test_a_stream_goes_on_where_it_was_when_its_gateway_went(engine: Desk):
    """Two gateways in turn behind one address; the client is told nothing."""
    async with gateway_on(engine) as first:
        account_id = await first.opened()
        port = int(first.url.rpartition(":")[2])
        client = AsyncProp(first.url, BOOTSTRAP)
        events, seen = client.follow_ledger(account_id), [1, 2]
        assert [(await anext(events)).seq for _ in range(2)] == seen
        of_all: list[StreamedEvent] = []
        following = asyncio.create_task(_collect(client, of_all))
        while len(of_all) < 2:
            await asyncio.sleep(0.01)
    async with gateway_on(engine, port=port) as second:
        for run in range(3):
            action = {"decisionActionId": "a", "action": "hold"}
            body = {"decisionRunId": f"r{run}", "actions": [action]}
            await second.post(f"/api/v1/prop/accounts/{account_id}/decision-actions", body)
        async with asyncio.timeout(20):
            assert [(await anext(events)).seq for _ in range(3)] == [3, 4, 5]
            while len(of_all) < 5:
                await asyncio.sleep(0.01)
        following.cancel()
        await client.close()
    assert [event.seq for event in of_all] == [1, 2, 3, 4, 5]


async def _collect(client: AsyncProp, into: list[StreamedEvent]) -> None:
    async for event in client.events():
        into.append(event)


@pytest.fixture
def url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    with gateway_in_a_thread(postgres_server, migrated_template) as found:
        yield found


async def test_the_blocking_client_works_where_a_loop_runs_already(url: str):
    """As in a notebook: the caller's loop stands still meanwhile, the client has its own."""
    with Prop(url, BOOTSTRAP) as client:
        account = client.start(client.create_account("user-7", "clone-9").id)
        taken = client.decide(account.id, [open_("BTC-USD", "long", quantity="0.1")])
        events = client.follow_ledger(account.id)
        assert [next(events).seq for _ in range(taken.account_seq)] == list(range(1, taken.account_seq + 1))
        assert client.snapshot(account.id, min_seq=taken.account_seq).account_seq == taken.account_seq
        assert [each.id for each in client.accounts(status="active")] == [account.id]


def test_the_guide_runs_as_it_stands(url: str, capsys: pytest.CaptureFixture[str]):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        code = compile(block, "docs/client.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        pending = eval(code, {"url": url, "token": BOOTSTRAP})
        if inspect.iscoroutine(pending):
            asyncio.run(_awaited(pending))
    said = capsys.readouterr().out
    for line in ("notional_exceeds_maximum 1.00000000", "50000.00000000 25.00000000", "account_not_found"):
        assert line in said
    assert "fill_booked" in said


async def _awaited(pending: Any) -> None:
    await pending
