"""Writing: the tables of a run as Parquet files, shard by shard as they come.

Files are written under other names and take their own at the end, so that a folder never holds half a run that looks
whole: one that was stopped leaves nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
from pyarrow import parquet

PART: Final = ".part"
COMPRESSION: Final = "zstd"


class Folder:
    """A folder of results. Raises `OSError` where it cannot be written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writers: dict[str, parquet.ParquetWriter] = {}
        self._whole: list[str] = []

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()
        for name in [*(f"{table}.parquet" for table in self._writers), *self._whole]:
            part = self.path / f"{name}{PART}"
            if kind is None:
                part.replace(self.path / name)
            else:
                part.unlink(missing_ok=True)

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """The tables of the next shard, each to the end of its file."""
        for name, table in tables.items():
            if name not in self._writers:
                part = self.path / f"{name}.parquet{PART}"
                self._writers[name] = parquet.ParquetWriter(part, table.schema, compression=COMPRESSION)
            self._writers[name].write_table(table)

    def put(self, name: str, text: str) -> None:
        """A text file beside them."""
        self._whole.append(name)
        (self.path / f"{name}{PART}").write_text(text, encoding="utf-8")
