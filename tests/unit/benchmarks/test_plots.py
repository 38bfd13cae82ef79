"""Curves from the figures that benchmarks print."""

import json
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.__main__ import _as_json
from benchmarks.plots import PICTURES, Row, drawn
from benchmarks.timing import Figure

NAMES = {
    "marking": [
        "1,000 accounts, 1 position each",
        "10,000 accounts, 1 position each",
        "1,000 accounts, 5 positions each",
    ],
    "recovery": [
        "1,000 accounts, 1 host",
        "100,000 accounts, 1 host",
        "100,000 accounts, 2 hosts",
        "1,000 accounts, no snapshot, 10 events",
        "1,000 accounts, no snapshot, 100 events",
    ],
    "core": ["open, 200 actions behind it", "open, 20,000 actions behind it", "mark of 5 positions"],
    "scaling": [
        "CPU of gateway, local, singles",
        "1 actor, 1 gateway, singles (by cores)",
        "1 actor, 1 gateway, tens (by cores)",
        "2 actors, 2 gateways, 1 core, singles (by cores)",
        "1 action a request (by cores)",
        "50 actions a request (by account actor)",
    ],
}


@pytest.fixture
def rows() -> list[Row]:
    printed = [
        _as_json(benchmark, Figure(name, 100.0 + place, 50.0, 2.0, 0.1))
        for benchmark, names in NAMES.items()
        for place, name in enumerate(names)
    ]
    assert all(json.loads(line)["benchmark"] in NAMES for line in printed)
    return [msgspec.json.decode(line, type=Row) for line in printed]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_axes_with_units_and_the_readers_colours(name: str, rows: list[Row]):
    picture = drawn(PICTURES[name], rows)
    assert picture is not None
    said = {element.text for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert any("µs" in (text or "") or "a second" in (text or "") for text in said)
    assert "prefers-color-scheme:dark" in picture
    assert "#010203" not in picture
    assert drawn(PICTURES[name], rows) == picture


@pytest.mark.parametrize("name", PICTURES)
def test_without_figures_there_is_no_picture(name: str):
    assert drawn(PICTURES[name], []) is None
