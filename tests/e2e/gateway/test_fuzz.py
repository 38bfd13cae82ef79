"""The API fuzzed by its own description: whatever is sent, no 5xx, and no answer that is not described.

Each operation gets requests that fit its schema and requests that do not, against the whole engine on a real
Postgres; accounts in paths are real ones in several states. `pytest --hypothesis-seed=N` repeats a run: the seed is
printed with a failure, beside the request.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from gateway.routes import ROUTES
from persistence.embedded import EmbeddedPostgres
from tests.e2e.gateway.conftest import BOOTSTRAP
from tests.e2e.gateway.described import JUDGE, operation
from tests.e2e.gateway.threaded import gateway_in_a_thread

pytestmark = pytest.mark.postgres

CASES_PER_OPERATION_AND_MODE = 12
WAIT_MS_MAX = 20
"""So that no case waits for what will not come."""
ACCOUNTS = "/api/v1/prop/accounts"
OPEN: dict[str, Any] = {
    "decisionActionId": "first",
    "action": "open",
    "symbol": "BTC-USD",
    "side": "long",
    "quantity": "0.1",
}
WAITED_FOR = "not_yet_durable"
"""The one 5xx that a request may ask for: `minSeq` past what will ever be."""

load_all_checks()
# The session brings the token: a request without one is no finding.
CONFIG = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
API = schemathesis.openapi.from_dict(JUDGE, config=CONFIG)
OPERATIONS = {found.ok().label: found.ok() for found in API.get_all_operations() if isinstance(found, Ok)}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    with gateway_in_a_thread(postgres_server, migrated_template) as found:
        yield found


@pytest.fixture(scope="module")
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {BOOTSTRAP}"
        yield session


def opened(url: str, http: requests.Session) -> list[str]:
    """Ids of accounts: pending, active with a position, paused, completed."""
    ids = []
    for verbs in ((), ("start",), ("start", "pause"), ("start", "complete")):
        account = http.post(url + ACCOUNTS, json={"ownerId": "o", "cloneId": "c", "raceId": "r"}).json()["id"]
        for verb in verbs:
            if verb == "pause":
                paused = url + f"/api/v1/admin/prop/accounts/{account}/pause"
                http.post(paused, json={"reason": "so"}).raise_for_status()
                continue
            http.post(f"{url}{ACCOUNTS}/{account}/{verb}").raise_for_status()
            if verb == "start":
                body: dict[str, Any] = {"decisionRunId": "before", "actions": [OPEN]}
                http.post(f"{url}{ACCOUNTS}/{account}/decision-actions", json=body).raise_for_status()
        ids.append(account)
    return ids


def test_every_operation_is_fuzzed():
    assert len(OPERATIONS) == len(ROUTES)
    assert all(operation(route) for route in ROUTES)


FITTING, UNFIT = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
RUNS = [
    pytest.param(label, mode, id=f"{label} {mode.value}")
    for label, found in OPERATIONS.items()
    for mode in (FITTING, UNFIT)
    if mode is FITTING or found.body or found.query or found.path_parameters
]


@pytest.mark.parametrize(("label", "mode"), RUNS)
def test_no_answer_is_unforeseen(label: str, mode: GenerationMode, url: str, http: requests.Session):
    takes_json = bool(OPERATIONS[label].body)  # in a query string a number is a text, so all of that may fit
    accounts = opened(url, http) if mode is FITTING and "{accountId}" in label else []

    @hypothesis.settings(
        max_examples=CASES_PER_OPERATION_AND_MODE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(OPERATIONS[label].as_strategy(generation_mode=mode))
    def sound(case: schemathesis.Case[Any]) -> None:
        if accounts:
            chosen = zlib.crc32(repr((case.body, case.query)).encode("utf-8", "replace"))
            case.path_parameters["accountId"] = accounts[chosen % len(accounts)]
        if isinstance(case.query.get("waitMs"), int):
            case.query["waitMs"] = min(case.query["waitMs"], WAIT_MS_MAX)
        answer = case.call(base_url=url, session=http)
        assert answer.status_code < 500 or answer.json().get("code") == WAITED_FOR, answer.text
        case.validate_response(answer, checks=[*CHECKS, *([checks.negative_data_rejection] if takes_json else [])])

    sound()
