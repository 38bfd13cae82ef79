"""Policies of a simulation: as the API takes them, and swept over the figures of some fields."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel

from engine.policy import Policy
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.plan import Variant
from gateway import mapping
from gateway.problems import InvalidRequest
from gateway.schemas import PolicyIn
from gateway.validation import validated

VARIANTS_MAX: Final = 1_000
LISTS: Final = ("allowedAssets", "allowedDirections")


def given(texts: Sequence[str]) -> dict[str, Any]:
    """A policy as JSON would have it, of files of JSON and of `field=value`, later ones over earlier ones.

    Fields are named as in the API or as in Python (`feeBps`, `fee_bps`), those of a rule behind a dot
    (`maxDailyLoss.fraction`). Raises `BadInput`.
    """
    policy: dict[str, Any] = {}
    for text in texts:
        if "=" in text:
            _set(policy, *text.split("=", 1))
        else:
            policy.update(_file(Path(text)))
    return policy


def variants(base: Mapping[str, Any], sweeps: Sequence[str]) -> tuple[Variant, ...]:
    """Every combination of the swept figures (`fee_bps=0,5,10`), or the one policy. Raises `BadInput`."""
    fields = [sweep.partition("=")[0] for sweep in sweeps]
    for sweep, field in zip(sweeps, fields, strict=True):
        if not field or not sweep.partition("=")[2] or fields.count(field) > 1:
            raise BadInput(InputCode.UNKNOWN_WORD, f"{sweep!r} sweeps nothing: fee_bps=0,5,10", sweep=sweep)
    values = [sweep.partition("=")[2].split(",") for sweep in sweeps]
    made = []
    for combination in product(*values):
        settings = tuple(zip(fields, combination, strict=True))
        fields_given: dict[str, Any] = json.loads(json.dumps(base))
        for field, value in settings:
            _set(fields_given, field, value)
        name = ", ".join(f"{field} {value}" for field, value in settings) or "policy"
        made.append(Variant(name=name, policy=policy(fields_given), settings=settings))
    if len(made) > VARIANTS_MAX:
        detail = f"{len(made):,} combinations: at most {VARIANTS_MAX:,}"
        raise BadInput(InputCode.TOO_MANY, detail, limit=VARIANTS_MAX)
    return tuple(made)


def policy(fields: Mapping[str, Any]) -> Policy:
    """What the API would make of it; raises `BadInput` where it would refuse."""
    try:
        return mapping.policy(validated(PolicyIn, fields, under="/policy"))
    except InvalidRequest as refused:
        found = "; ".join(f"{fault.pointer} {fault.message}" for fault in refused.faults)
        raise BadInput(InputCode.OUT_OF_RANGE, f"no such policy: {found}") from None


def _set(policy: dict[str, Any], field: str, value: str) -> None:
    *outer, last = (to_camel(part) for part in field.strip().split("."))
    inside = policy
    for part in outer:
        if not isinstance(inside.get(part), dict):
            inside[part] = {}
        inside = inside[part]
    inside[last] = _value(last, value.strip())


def _value(field: str, text: str) -> Any:
    """Words of JSON and whole numbers as they are, lists by `+`; other figures stay text, so that they stay exact."""
    words: Mapping[str, Any] = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    if field in LISTS:
        return text.split("+")
    return int(text) if text.isascii() and text.isdigit() else text


def _file(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(), parse_float=str)
    except (OSError, ValueError) as error:
        raise BadInput(InputCode.UNREADABLE, f"no policy in {path}: {error}", path=str(path)) from None
    if not isinstance(found, dict):
        raise BadInput(InputCode.WRONG_TYPE, f"{path} holds no JSON object", path=str(path))
    return found
