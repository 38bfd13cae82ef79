"""What can go wrong, one exception for each code of the API.

    PropError
      Unreachable                    no answer, or one that is not this API's
      Refused                        the API said no: a problem document (RFC 9457)
        BadInput                     what was sent is wrong; sending it again changes nothing
          BadRequest  MalformedJson  RequestTimeout  BodyTooLarge  UnsupportedMediaType  MethodNotAllowed
          InvalidRequest  InvalidCursor  IdempotencyKeyReused  DecisionActionConflict  DuplicateDecisionAction
          RaceTooLarge
        NotAllowed                   the token
          Unauthenticated  Forbidden
        NotFound
          PathNotFound  AccountNotFound  DecisionActionNotFound  FillNotFound  OrderNotFound
        Conflict                     the account's state, or the market's, does not allow it now
          InvalidTransition  AccountTerminal  AccountNotActive  AccountNotTerminal  AccountQuarantined
          PriceMissing  PriceStale  VoidWouldOrphan
        Busy                         nothing was done, or the same ids are safe; the client has tried again already
          RateLimited  Overloaded  OutcomeUnknown  StorageUnavailable  NotYetDurable  ShuttingDown
        Failed                       the engine failed
          InternalError

A code newer than this client is an exception of its status' family. An action that a gate rejects is no exception: it
is a result with `status == "rejected"`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "instance", "code", "requestId", "retryable"})


class PropError(Exception):
    """Anything this client raises, except for arguments it does not take."""


class Unreachable(PropError):
    """No answer before the deadline, or an answer that is not this API's. A write may or may not have happened:
    sending the same ids again gives its one true outcome."""


class Refused(PropError):
    """A problem document. `members` holds what this code adds: `errors`, the figures that were compared, and so on."""

    attempts: int = 1
    """How often the request was sent; above 1, an earlier one may have done it."""
    codes: ClassVar[dict[str, type["Refused"]]] = {}
    code: str = ""

    def __init_subclass__(cls, *, code: str = "") -> None:
        if code:
            cls.code = code
            cls.codes[code] = cls

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("requestId", ""))
        self.retryable = bool(problem.get("retryable", False))
        self.retry_after_s = retry_after_s
        self.members = {name: value for name, value in problem.items() if name not in _MEMBERS}
        super().__init__(f"{status} {self.code}: {self.detail} (request {self.request_id})")


class BadInput(Refused): ...


class BadRequest(BadInput, code="bad_request"): ...


class MalformedJson(BadInput, code="malformed_json"): ...


class RequestTimeout(BadInput, code="request_timeout"): ...


class BodyTooLarge(BadInput, code="body_too_large"): ...


class UnsupportedMediaType(BadInput, code="unsupported_media_type"): ...


class MethodNotAllowed(BadInput, code="method_not_allowed"): ...


class InvalidRequest(BadInput, code="invalid_request"): ...


class InvalidCursor(BadInput, code="invalid_cursor"): ...


class IdempotencyKeyReused(BadInput, code="idempotency_key_reused"): ...


class DecisionActionConflict(BadInput, code="decision_action_conflict"): ...


class DuplicateDecisionAction(BadInput, code="duplicate_decision_action"): ...


class RaceTooLarge(BadInput, code="race_too_large"): ...


class NotAllowed(Refused): ...


class Unauthenticated(NotAllowed, code="unauthenticated"): ...


class Forbidden(NotAllowed, code="forbidden"): ...


class NotFound(Refused): ...


class PathNotFound(NotFound, code="not_found"): ...


class AccountNotFound(NotFound, code="account_not_found"): ...


class DecisionActionNotFound(NotFound, code="decision_action_not_found"): ...


class FillNotFound(NotFound, code="fill_not_found"): ...


class OrderNotFound(NotFound, code="order_not_found"): ...


class Conflict(Refused): ...


class InvalidTransition(Conflict, code="invalid_transition"): ...


class AccountTerminal(Conflict, code="account_terminal"): ...


class AccountNotActive(Conflict, code="account_not_active"): ...


class AccountNotTerminal(Conflict, code="account_not_terminal"): ...


class AccountQuarantined(Conflict, code="account_quarantined"): ...


class PriceMissing(Conflict, code="price_missing"): ...


class PriceStale(Conflict, code="price_stale"): ...


class VoidWouldOrphan(Conflict, code="void_would_orphan"): ...


class Busy(Refused): ...


class RateLimited(Busy, code="rate_limited"): ...


class Overloaded(Busy, code="overloaded"): ...


class OutcomeUnknown(Busy, code="outcome_unknown"): ...


class StorageUnavailable(Busy, code="storage_unavailable"): ...


class NotYetDurable(Busy, code="not_yet_durable"): ...


class ShuttingDown(Busy, code="shutting_down"): ...


class Failed(Refused): ...


class InternalError(Failed, code="internal_error"): ...


_FAMILIES: Final[Mapping[int, type[Refused]]] = {401: NotAllowed, 403: NotAllowed, 404: NotFound, 409: Conflict}


def refusal(status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> Refused:
    """The exception for a problem document."""
    family = _FAMILIES.get(status, Busy if status in (429, 503) else Failed if status >= 500 else BadInput)
    return Refused.codes.get(str(problem.get("code")), family)(status, problem, retry_after_s)
