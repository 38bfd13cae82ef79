"""Service tokens on a real table: shown once, two a service, revocable, one bootstrap."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from persistence.pools import connection_pool
from persistence.tokens import TokenRefused, Tokens, sha256

pytestmark = pytest.mark.postgres

SECRET = "0123456789abcdef0123456789abcdef"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=60)


@pytest.fixture
async def tokens(database_url: str) -> AsyncIterator[Tokens]:
    async with connection_pool(database_url, connections_max=4, read_only=False) as pool:
        yield Tokens(pool)


async def test_the_text_is_shown_once_and_only_its_hash_is_kept(tokens: Tokens, database_url: str):
    text, row = await tokens.create("ai-trading", ["prop:trade"])
    assert text.startswith("ptk_")
    assert len(text) == 4 + 43
    assert row.token_sha256 == hashlib.sha256(text.encode()).digest()
    assert await tokens.live(soon()) == [row]
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("select t::text from prop_service_tokens t").fetchall()
    assert text not in str(stored)


async def test_two_live_tokens_a_service_so_that_one_can_be_rotated(tokens: Tokens):
    _, first = await tokens.create("lifecycle", ["prop:read"])
    _, second = await tokens.create("lifecycle", ["prop:read"])
    with pytest.raises(TokenRefused, match=f"2 live tokens; revoke one first: {first.id}, {second.id}"):
        await tokens.create("lifecycle", ["prop:read"])
    await tokens.create("another", ["prop:read"])
    assert await tokens.revoke(first.id)
    _, third = await tokens.create("lifecycle", ["prop:read", "prop:trade", "prop:read"])
    assert third.scopes == ("prop:read", "prop:trade")
    assert [row.id for row in await tokens.live(soon()) if row.name == "lifecycle"] == [second.id, third.id]
    assert len(await tokens.all()) == 4


async def test_racing_creators_still_make_two(tokens: Tokens):
    made = await asyncio.gather(*(tokens.create("race", ["prop:read"]) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, TokenRefused) for each in made) == 6
    assert len(await tokens.live(soon())) == 2


async def test_an_expired_token_is_no_longer_live_and_makes_room(tokens: Tokens):
    at = datetime.now(UTC) + timedelta(hours=1)
    _, row = await tokens.create("short", ["prop:read"], expires_at=at)
    assert row.expires_at == at
    assert row.is_live(at - timedelta(seconds=1))
    assert await tokens.live(at - timedelta(seconds=1)) == [row]
    assert await tokens.live(at) == []
    assert not row.is_live(at)


async def test_revoking_is_once(tokens: Tokens):
    _, row = await tokens.create("service", ["prop:read"])
    assert await tokens.revoke(row.id)
    assert not await tokens.revoke(row.id)
    assert not await tokens.revoke("nothing of the kind")
    assert await tokens.live(soon()) == []
    (kept,) = await tokens.all()
    assert kept.revoked_at is not None


@pytest.mark.parametrize(
    ("name", "scopes", "expires_at", "complaint"),
    [
        ("", ["prop:read"], None, "service name"),
        ("a b", ["prop:read"], None, "service name"),
        ("x" * 129, ["prop:read"], None, "service name"),
        ("bootstrap", ["prop:read"], None, "bootstrap"),
        ("service", [], None, "scopes are some of"),
        ("service", ["prop:everything"], None, "prop:everything"),
        ("service", ["prop:read"], datetime(2020, 1, 1, tzinfo=UTC), "still to come"),
        ("service", ["prop:read"], datetime(2999, 1, 1), "with a zone"),  # noqa: DTZ001 - it lacks one on purpose
    ],
)
async def test_what_cannot_be_a_token_is_refused(
    tokens: Tokens, name: str, scopes: list[Any], expires_at: datetime | None, complaint: str
):
    with pytest.raises(TokenRefused, match=complaint):
        await tokens.create(name, scopes, expires_at=expires_at)
    assert await tokens.all() == []


async def test_one_bootstrap_token_the_last_given(tokens: Tokens):
    first = await tokens.install_bootstrap(SECRET)
    assert (first.name, first.scopes, first.token_sha256) == ("bootstrap", ("prop:admin",), sha256(SECRET))
    assert await tokens.install_bootstrap(SECRET) == first
    second = await tokens.install_bootstrap(SECRET.upper())
    assert await tokens.live(soon()) == [second]
    again = await tokens.install_bootstrap(SECRET)
    assert again == first
    assert await tokens.live(soon()) == [first]


@pytest.mark.parametrize("text", ["", SECRET[:-1], SECRET + "\n", "é" * 32, " " * 32])
async def test_a_weak_bootstrap_token_is_refused(tokens: Tokens, text: str):
    with pytest.raises(TokenRefused, match="32"):
        await tokens.install_bootstrap(text)


async def test_a_services_token_cannot_become_the_bootstrap_token(tokens: Tokens):
    text, _ = await tokens.create("service", ["prop:read"])
    with pytest.raises(TokenRefused, match="another service"):
        await tokens.install_bootstrap(text)
    assert [row.name for row in await tokens.live(soon())] == ["service"]


def test_any_text_a_client_sends_has_a_hash():
    assert len(sha256("\udcff")) == 32
