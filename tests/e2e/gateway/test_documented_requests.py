"""Every request that the documents of the feeds and the reads show, sent as it stands there."""

import re
from pathlib import Path

import pytest

from tests.e2e.gateway.door import Door
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = re.compile(r"```http\nGET (?P<path>\S+)\n(?P<headers>(?:[\w-]+: .+\n)*)```")


def examples() -> list[tuple[str, dict[str, str]]]:
    found = []
    for name in ("streams.md", "reads.md"):
        for example in EXAMPLE.finditer((DOCS / name).read_text()):
            headers = dict(line.split(": ", 1) for line in example["headers"].splitlines())
            found.append((example["path"], headers))
    return found


@pytest.mark.parametrize(("path", "headers"), examples())
async def test_it_is_answered(door: Door, engine: Desk, path: str, headers: dict[str, str]):
    account_id = await door.opened(raceId="race-1")
    await door.post(f"/api/v1/prop/accounts/{account_id}/complete")
    path = path.replace("{accountId}", account_id).replace("{raceId}", "race-1")
    async with door.stream(path, headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith(headers.get("Accept", "application/json"))
