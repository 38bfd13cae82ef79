"""Problems: one table, and documents made from it."""

import msgspec
import pytest

from engine.rejections import Failure, GateCode, Refusal
from gateway.problems import KINDS, Fault, InvalidRequest, Problem, of_refusal
from gateway.routes import ROUTES


@pytest.mark.parametrize("code", KINDS)
def test_every_code_makes_a_document(code: str):
    problem = Problem(code, "because")
    said = msgspec.json.decode(problem.body(instance="/x", request_id="r"))
    assert said == {
        "type": f"/docs#{code}",
        "title": KINDS[code].title,
        "status": KINDS[code].status,
        "detail": "because",
        "instance": "/x",
        "code": code,
        "requestId": "r",
        "retryable": KINDS[code].retryable,
    }


@pytest.mark.parametrize("code", KINDS)
def test_what_is_retried_later_says_when(code: str):
    busy = KINDS[code].status in (429, 503)
    assert KINDS[code].retryable or not busy
    assert ("Retry-After" in Problem(code).all_headers()) == busy


def test_every_error_a_route_names_is_in_the_table():
    assert {code for route in ROUTES for code in route.errors} <= set(KINDS)


def test_a_refusal_shows_its_figures():
    refusal = Refusal("invalid_transition", "cannot pause", {"from": "pending", "to": "paused"})
    said = msgspec.json.decode(of_refusal(refusal).body(instance="", request_id="r"))
    assert (said["status"], said["code"], said["from"], said["to"]) == (409, "invalid_transition", "pending", "paused")


def test_the_context_of_a_refusal_never_replaces_a_member_of_the_document():
    refusal = Refusal("account_terminal", "ended", {"status": "completed", "code": "x", "title": "y"})
    said = msgspec.json.decode(of_refusal(refusal).body(instance="", request_id="r"))
    assert (said["status"], said["code"], said["accountStatus"]) == (409, "account_terminal", "completed")


def test_a_missing_price_lists_what_is_missing():
    failure = Failure(GateCode.PRICE_MISSING, {"symbol": "X", "reason": "none"})
    problem = of_refusal(Refusal("price_missing", "no quote", failure.context, (failure,)))
    said = msgspec.json.decode(problem.body(instance="", request_id="r"))
    assert said["symbol"] == "X"
    assert said["failures"] == [{"code": "price_missing", "context": {"symbol": "X", "reason": "none"}}]
    assert said["retryable"] is True


def test_a_refusal_nobody_knows_yet_is_a_409():
    assert of_refusal(Refusal("brand_new", "so")).kind.status == 409


def test_no_more_than_twenty_faults_are_shown():
    many = InvalidRequest([Fault(f"/{place}", "x", "y") for place in range(50)])
    assert len(msgspec.json.decode(many.body(instance="", request_id="r"))["errors"]) == 20
