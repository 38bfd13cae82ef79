"""Problems: every error the API can answer, in one table (RFC 9457).

Owns the codes, their status, title and whether sending the same again may help. A handler raises `Problem`; the
door turns it into a reply, so no other module builds an error body. Nothing a client sent is echoed
except names the contract knows.

    Problem
      InvalidRequest    bad input, one `Fault` for each thing wrong with it
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from engine.canonical import plain
from engine.rejections import Refusal

MEDIA_TYPE: Final = "application/problem+json"
FAULTS_MAX: Final = 20
"""Faults listed in one reply; a body with more is no easier to mend for seeing them all."""


class Kind(msgspec.Struct, frozen=True):
    """What one code means. `retry_after_s` goes into `Retry-After`: nothing was done, or the same ids are safe."""

    status: int
    title: str
    retryable: bool = False
    retry_after_s: int | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "bad_request": Kind(400, "The request is not valid HTTP"),
    "malformed_json": Kind(400, "The body is not the JSON this API accepts"),
    "unauthenticated": Kind(401, "A valid bearer token is needed"),
    "forbidden": Kind(403, "The token does not have the scope"),
    "not_found": Kind(404, "There is nothing at this path"),
    "account_not_found": Kind(404, "No such account"),
    "fill_not_found": Kind(404, "The account has no such fill"),
    "order_not_found": Kind(404, "The account has no such order"),
    "decision_action_not_found": Kind(404, "No such decision action"),
    "method_not_allowed": Kind(405, "This path does not take that method"),
    "request_timeout": Kind(408, "The body did not arrive in time", retryable=True),
    "invalid_transition": Kind(409, "The account's state does not allow this"),
    "account_terminal": Kind(409, "The account has ended"),
    "account_not_active": Kind(409, "The account is neither active nor paused"),
    "account_not_terminal": Kind(409, "The account has not ended"),
    "account_quarantined": Kind(409, "The account takes no writes until an operator has looked at it"),
    "void_would_orphan": Kind(409, "Later fills would take off more than is there"),
    "price_missing": Kind(409, "A price that is needed is missing", retryable=True),
    "price_stale": Kind(409, "A price that is needed is too old", retryable=True),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body must be application/json in UTF-8, not encoded"),
    "invalid_request": Kind(422, "The request has faults"),
    "invalid_cursor": Kind(422, "The cursor is not one of this list"),
    "race_too_large": Kind(422, "The race has more accounts than are ranked"),
    "idempotency_key_reused": Kind(422, "The idempotency key belongs to another request"),
    "decision_action_conflict": Kind(422, "An action of this key was answered before with other content"),
    "duplicate_decision_action": Kind(422, "A decisionActionId occurs twice in the batch"),
    "rate_limited": Kind(429, "Too many requests of this token, a second or at once", retryable=True, retry_after_s=1),
    "internal_error": Kind(500, "The engine failed at this request"),
    "overloaded": Kind(503, "Too busy; nothing was done", retryable=True, retry_after_s=1),
    "outcome_unknown": Kind(503, "Not confirmed; send the same ids again", retryable=True, retry_after_s=1),
    "storage_unavailable": Kind(503, "Storage does not answer", retryable=True, retry_after_s=1),
    "not_yet_durable": Kind(503, "The account has not reached minSeq yet", retryable=True, retry_after_s=1),
    "shutting_down": Kind(503, "This gateway is stopping; nothing was done", retryable=True, retry_after_s=1),
}
UNFORESEEN_REFUSAL: Final = Kind(409, "The account's state does not allow this")
"""For a refusal whose code is newer than this table: still a 409, still with its code."""


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with the input. `pointer` is a JSON pointer into the body, or `/query/NAME` or `/path/NAME`."""

    pointer: str
    code: str
    message: str


class Problem(Exception):
    """An answer that is an error. `code` is a key of `KINDS`, `context` becomes members of the reply."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        context: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.context = dict(context or {})
        self.headers = dict(headers or {})

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.code, UNFORESEEN_REFUSAL)

    def all_headers(self) -> dict[str, str]:
        retry = self.kind.retry_after_s
        return ({} if retry is None else {"Retry-After": str(retry)}) | self.headers

    def body(self, *, instance: str, request_id: str) -> bytes:
        """The problem document."""
        kind = self.kind
        members: dict[str, Any] = {
            "type": f"/docs#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail or kind.title,
            "instance": instance,
            "code": self.code,
            "requestId": request_id,
            "retryable": kind.retryable,
        }
        if self.faults:
            members["errors"] = [plain(fault) for fault in self.faults[:FAULTS_MAX]]
        return msgspec.json.encode({**plain(self.context), **members})


class InvalidRequest(Problem):
    """422 with at least one fault."""

    def __init__(self, faults: Iterable[Fault], code: str = "invalid_request", detail: str = "") -> None:
        listed = tuple(faults)
        super().__init__(code, detail or _counted(listed), faults=listed)


def of_refusal(refusal: Refusal) -> Problem:
    """A refused command: 409, or 404 for what is not there, with the refusal's code and its figures as members (`from`
    and `to`, `status`, `fills`...)."""
    context: dict[str, Any] = dict(refusal.context)
    if "status" in context:  # RFC 9457 has that member for itself
        context["accountStatus"] = context.pop("status")
    if refusal.failures:
        context["failures"] = list(refusal.failures)
    if refusal.orphans:
        context["fills"] = list(refusal.orphans)
    return Problem(refusal.code, refusal.detail, context=context)


def _counted(faults: Sequence[Fault]) -> str:
    first = faults[0]
    more = "" if len(faults) == 1 else f" (and {len(faults) - 1} more)"
    return f"{first.pointer or 'the body'}: {first.message}{more}"
