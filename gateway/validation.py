"""Validation: request models and what becomes of input that does not fit them.

Owns the base of every request model: camelCase or snake_case names, unknown names refused, nothing coerced; and the
translation of pydantic's errors into `Fault`s with stable codes and JSON pointers. Hostile names are never echoed: a
name that is no identifier is pointed at by the object it stands in.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from gateway.problems import FAULTS_MAX, Fault, InvalidRequest

ECHOED: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
"""Names of fields that are safe to repeat to the client and in logs."""
_CODES: Final[Mapping[str, str]] = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "string_pattern_mismatch": "invalid_format",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_long",
    "too_short": "too_short",
    "literal_error": "not_allowed",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
}
_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this object",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
}


class Wire(BaseModel):
    """Base of request models. Names come in camelCase or snake_case, one field never in both."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        regex_engine="rust-regex",
    )
    _aliases: ClassVar[dict[str, str]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls._aliases = {
            name: alias for name, field in cls.model_fields.items() if (alias := field.alias) and alias != name
        }

    @model_validator(mode="before")
    @classmethod
    def _each_field_once(cls, value: Any) -> Any:
        if isinstance(value, dict) and not cls._aliases.keys().isdisjoint(value):
            twice = [alias for name, alias in cls._aliases.items() if name in value and alias in value]
            if twice:
                raise faults_at(
                    cls.__name__,
                    *((alias, "duplicate_field", "is given in camelCase and in snake_case") for alias in twice),
                )
        return value


Model = TypeVar("Model", bound=Wire)


def validated(model: type[Model], value: Mapping[str, Any], *, under: str = "", **context: Any) -> Model:
    """`value` as a `model`. Raises `InvalidRequest`; `under` prefixes its pointers."""
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidRequest(_fault(detail, value, under) for detail in details[:FAULTS_MAX]) from None


def faults_at(title: str, *faults: tuple[str, str, str]) -> ValidationError:
    """An error to raise in a validator of a whole object: (field, code, message), each at its field."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(type=PydanticCustomError(code, _literal(message)), loc=(field,), input=None)
            for field, code, message in faults
        ],
    )


def _literal(message: str) -> str:
    return message.replace("{", "(").replace("}", ")")  # pydantic reads braces as places to fill in


def _fault(detail: ErrorDetails, value: Any, under: str) -> Fault:
    type_ = detail["type"]
    code = _CODES.get(type_, "wrong_type" if type_.endswith("_type") else type_)
    pointer = "".join(f"/{part}" for part in _path(detail["loc"], value, unknown=type_ == "extra_forbidden"))
    return Fault(under + pointer, code, _MESSAGES.get(type_, detail["msg"]))


def _path(loc: tuple[int | str, ...], value: Any, *, unknown: bool) -> Iterator[str]:
    """The places of `loc`, named as the client named them."""
    for depth, part in enumerate(loc):
        name = str(part)
        if isinstance(value, Mapping):
            if name not in value:
                name = next((each for each in value if isinstance(each, str) and to_camel(each) == name), name)
            value = value.get(name)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        if unknown and depth == len(loc) - 1 and ECHOED.fullmatch(name) is None:
            return
        yield name
