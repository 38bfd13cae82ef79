"""The quick way to canonical form gives the bytes of the way that is always right, whatever a struct holds."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from engine.canonical import by_type, canonical, shown, shown_by_type
from engine.commands import Action
from engine.direct import direct
from engine.events import (
    EVENT_TYPES,
    ActionRejected,
    FillBooked,
    MarkedToMarket,
    MarkToMarketFailed,
    OrderValidated,
    PositionChanged,
)
from engine.positions import Position
from engine.quotes import Quote
from engine.receipts import Receipt
from engine.rejections import Failure, GateCode
from engine.views import ActionResult, BalanceView, FillView, SnapshotView

STRUCTS = (*EVENT_TYPES.values(), Action, ActionResult, BalanceView, FillView, Position, Quote, Receipt, SnapshotView)
LOOKALIKES = ("0E-8", "-1E-7", '":"0E-8"', '"cost":"0E-8', '\\":"0E-8"', "0E-8Z", "2026-01-02T03:04:05Z", "E-8", "")
FOREIGN = timezone(timedelta(hours=2))
REJECTED = ActionRejected(
    prop_action_id="p",
    decision_run_id="r",
    action=Action(decision_action_id="a", action="open", quantity=Decimal("0E-8")),
    code=GateCode.PRICE_STALE,
    failures=(),
    max_quantity=None,
)

TEXTS = st.sampled_from(LOOKALIKES) | st.text(st.characters(codec="utf-8"), max_size=12)
MOMENTS = st.builds(
    lambda at, microsecond, zone: at.replace(microsecond=microsecond, tzinfo=zone),
    st.integers(0, 3 * 10**9).map(lambda second: datetime.fromtimestamp(second, UTC)),
    st.sampled_from([1, 20_000, 999_999, 0]),
    st.sampled_from([UTC, UTC, UTC, FOREIGN]),
)
FIGURES = st.one_of(
    st.just(Decimal("0E-8")),
    st.just(Decimal("0E-8")),
    st.integers(-(10**20), 10**20).map(lambda units: Decimal(units).scaleb(-8)),
    st.integers(-200, 200).map(lambda units: Decimal(units).scaleb(-8)),
    st.sampled_from([Decimal("NaN"), Decimal("1E+5"), Decimal("-0E-8"), Decimal(3), Decimal("1E-18")]),
)


def anything(kind: inspect.Type) -> st.SearchStrategy[object]:
    """Values of a type, with those that are awkward to write."""
    match kind:
        case inspect.StructType(cls=struct):
            return st.builds(struct, **{field.name: anything(field.type) for field in kind.fields})
        case inspect.UnionType():
            return st.one_of(*map(anything, kind.types))
        case inspect.VarTupleType():
            return st.lists(anything(kind.item_type), max_size=2).map(tuple)
        case inspect.DictType():
            return st.dictionaries(TEXTS, anything(kind.value_type), max_size=2)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.EnumType():
            return st.sampled_from(list(kind.cls))
    return {
        inspect.StrType: TEXTS,
        inspect.DecimalType: FIGURES,
        inspect.DateTimeType: MOMENTS,
        inspect.DateType: st.dates(),
        inspect.IntType: st.integers(-(2**40), 2**40),
        inspect.BoolType: st.booleans(),
        inspect.NoneType: st.none(),
        inspect.AnyType: st.none() | TEXTS,
    }[type(kind)]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_what_is_written_directly_is_what_is_written_by_type(struct: type[msgspec.Struct]) -> None:
    @settings(max_examples=settings().max_examples // 4)
    @given(anything(inspect.type_info(struct)))
    def check(value: msgspec.Struct) -> None:
        assert canonical(value) == by_type(value)
        assert shown(value) == shown_by_type(value)

    check()


@pytest.mark.parametrize("struct", [OrderValidated, FillBooked, PositionChanged, MarkedToMarket, ActionResult, Action])
def test_what_every_action_and_mark_writes_is_written_directly(struct: type[msgspec.Struct]) -> None:
    assert direct(struct) is not None


class Named(msgspec.Struct):
    amount: Decimal


class Twice(msgspec.Struct):
    """A text and a figure of one name."""

    amount: str
    inner: Named


@pytest.mark.parametrize(
    "value",
    [
        Twice("0E-8", Named(Decimal("0E-8"))),
        MarkToMarketFailed(pass_id="p", failures=(Failure(GateCode.PRICE_STALE, {"quantity": "0E-8"}),)),
        msgspec.structs.replace(REJECTED, failures=(Failure(GateCode.PRICE_STALE, {"quantity": "0E-8"}),)),
    ],
    ids=["struct", "context", "context beside a figure"],
)
def test_a_text_that_has_the_name_of_a_figure_stays_as_it_is(value: msgspec.Struct) -> None:
    assert canonical(value) == by_type(value)
    assert shown(value) == shown_by_type(value)
    assert b'":"0E-8"' in canonical(value)
