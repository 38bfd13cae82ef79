"""Every setting that an operator may change is read by the program that shows it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from configs.settings import Settings

ROOT = Path(__file__).parents[2]
READERS = [path.read_text() for name in ("configs", "gateway") for path in (ROOT / name).rglob("*.py")]


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{key}" for key in keys(field.annotation))
        else:
            yield name


@pytest.mark.parametrize("key", list(keys(Settings)))
def test_a_setting_is_read(key: str) -> None:
    name = key.rpartition(".")[2]
    assert any(re.search(rf"\.{name}\b", source) for source in READERS)
