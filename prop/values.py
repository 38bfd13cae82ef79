"""Values: money as `Decimal`, never a float; times in UTC; names camelCase on the wire and snake_case here."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel


def _no_float(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError('money is no float: give a Decimal, an int or a string like "50000.25"')
    return value


Money = Annotated[Decimal, BeforeValidator(_no_float), PlainSerializer(lambda value: format(value, "f"), str)]
"""Money, a price, a quantity or a ratio, exact."""


def in_utc(at: datetime) -> str:
    """`2026-01-31T23:59:59.000001Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


Moment = Annotated[datetime, PlainSerializer(in_utc, str, when_used="json")]
"""A point in time, in UTC."""


class Reply(BaseModel):
    """What the API answers. Fields that are newer than this client are left out, not refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """As the API has it: camelCase, money as text, times in UTC with six digits."""
        return self.model_dump(mode="json", by_alias=True)


class Request(BaseModel):
    """What the API takes. Only fields that were set are sent: the rest has the engine's defaults."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
