"""Where folders of tests are made: in memory only where there is room for databases."""

import stat
from pathlib import Path

import pytest

from tests.support import scratch as module
from tests.support.scratch import place, scratch


def test_in_memory_only_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ROOM_BYTES", 1)
    assert place(tmp_path) == tmp_path
    assert place(tmp_path / "not there") is None
    monkeypatch.setattr(module, "ROOM_BYTES", 1024**6)
    assert place(tmp_path) is None


def test_private_and_gone_afterwards_even_after_a_failure():
    folders = []

    def fail() -> None:
        with scratch() as folder:
            folders.append(folder)
            (folder / "file").write_text("something")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert not folders[0].exists()
