"""Tokens: who gets in, how soon that changes, and what a guess costs."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.auth import IMPLIED, LOOKS_MAX, TokenRing
from gateway.routes import ROUTES
from persistence.store import StoreUnavailable
from persistence.tokens import Scope
from tests.unit.gateway.fakes import ADMIN, READ, TRADE, FakeDoor, FakeTokens, token_row

ACCOUNTS = "/api/v1/prop/accounts"


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens() -> FakeTokens:
    return FakeTokens()


@pytest.fixture
def ring(clock: Clock, tokens: FakeTokens) -> TokenRing:
    return TokenRing(tokens, clock=clock.now, monotonic=clock.monotonic)


async def test_a_known_token_costs_no_read(ring: TokenRing, tokens: FakeTokens):
    for _ in range(100):
        assert await ring.find(READ)
    assert tokens.reads == 1


async def test_a_new_token_works_at_once(ring: TokenRing, tokens: FakeTokens, clock: Clock):
    assert await ring.find(READ)
    for number in range(3):
        clock.at += 0.001
        tokens.rows.append(token_row(f"new-{number}", "prop:read"))
        assert await ring.find(f"new-{number}")


async def test_a_revoked_token_stops_working(ring: TokenRing, tokens: FakeTokens, clock: Clock):
    assert await ring.find(READ)
    tokens.rows.clear()
    clock.at += 6
    assert await ring.find(READ) is None


async def test_an_expired_token_stops_working_at_its_second(ring: TokenRing, tokens: FakeTokens, clock: Clock):
    tokens.rows.append(token_row("brief", "prop:read", expires_at=clock.now() + timedelta(milliseconds=500)))
    assert await ring.find("brief")
    clock.at += 0.5
    assert await ring.find("brief") is None


async def test_guesses_do_not_load_storage(ring: TokenRing, tokens: FakeTokens):
    for number in range(1_000):
        assert await ring.find(f"guess-{number}") is None
    assert tokens.reads <= LOOKS_MAX + 1


async def test_the_list_outlives_a_short_outage(ring: TokenRing, tokens: FakeTokens, clock: Clock):
    assert await ring.find(READ)
    tokens.away = True
    clock.at += 30
    assert await ring.find(READ)
    clock.at += 31
    with pytest.raises(StoreUnavailable):
        await ring.find(READ)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        f"Basic {READ}",
        READ,
        f"Bearer {READ[:-1]}",
        f"Bearer {READ}x",
        f"Bearer {READ} x",
        "Bearer wrong",
        f"Bearer {'x' * 600}",
        "Bearer tök",
        "Bearer \u6f22",
    ],
)
async def test_a_bad_header_is_unauthenticated(door: FakeDoor, header: str):
    heard = await door.get(ACCOUNTS, token=None, headers={"Authorization": header})
    assert heard.refusal == (401, "unauthenticated")
    assert heard.headers["WWW-Authenticate"].startswith("Bearer")


async def test_no_header_and_two_headers_are_unauthenticated(door: FakeDoor):
    assert (await door.get(ACCOUNTS, token=None)).refusal == (401, "unauthenticated")
    assert (await door.get(f"{ACCOUNTS}?access_token={READ}", token=None)).refusal == (401, "unauthenticated")
    from tests.unit.gateway.test_json_body import raw

    twice = f"GET {ACCOUNTS} HTTP/1.1\nHost: x\nAuthorization: Bearer {READ}\nAuthorization: Bearer {READ}\n\n"
    assert b" 401 " in (await raw(door, twice)).split(b"\r\n")[0]


@pytest.mark.parametrize(("token", "scope"), [(READ, "prop:read"), (TRADE, "prop:trade"), (ADMIN, "prop:admin")])
async def test_every_route_asks_for_its_scope(door: FakeDoor, token: str, scope: Scope):
    for route in ROUTES:
        path = route.path.replace("{account_id}", "x").replace("{prop_action_id}", "x").replace("{clone_id}", "x")
        heard = await door.send(route.method, path, token=token)
        may = route.scope is None or route.scope in IMPLIED[scope]
        assert (heard.status == 403) != may, (route.method, path, heard.status)
        assert heard.status < 500
        if not may:
            assert heard.refusal == (403, "forbidden")


async def test_everything_under_api_is_behind_the_door(door: FakeDoor):
    for path in ("/api/", "/api/v1/nothing", "/api/v1/prop/accounts/../../../x", "/api/%76%31/prop/accounts"):
        assert (await door.get(path, token=None)).status == 401, path
    for path in ("/livez", "/readyz", "/metrics", "/version", "/openapi.json", "/docs"):
        assert (await door.get(path, token=None)).status == 200, path
