"""Options that several commands take, each with one name, one help text and one default."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder of the bundled PostgreSQL, run.json and the token; $XDG_STATE_HOME/prop or ~/.local/state/prop.",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.toml", help="Settings over the defaults.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="postgresql://user:password@host:port/name; else PROP_DATABASE_URL, else the database of the data folder.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="PROP_URL",
        help="Where the gateway answers; else as in DIR/run.json.",
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="PROP_TOKEN",
        help="A service token; else the one kept in DIR/token.",
        show_default=False,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="N",
        min=0,
        max=65_535,
        help="TCP port, 0 for any; 8080 or the next free one.",
        show_default=False,
    ),
]
