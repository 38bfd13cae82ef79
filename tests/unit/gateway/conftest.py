"""A gateway over fakes, on a real socket."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway.fakes import FakeDoor, opened_door


@pytest.fixture
async def door() -> AsyncIterator[FakeDoor]:
    async with opened_door() as found:
        yield found
