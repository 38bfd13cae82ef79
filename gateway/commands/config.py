"""`prop config`: the settings in force and where each came from."""

import typer

from gateway.commands import options
from gateway.commands.place import settings_of
from gateway.commands.terminal import print_json, print_table

app = typer.Typer(name="config", help="Settings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Settings: configs/default.toml, then --config, then PROP_SECTION__NAME, then the command line."""


@app.command()
def show(config: options.ConfigFile = None, json: options.AsJson = False) -> None:
    """Print every setting, its value and its source. Passwords are hidden.

    \b
    prop config show
    PROP_MARKING__CADENCE_MS=1000 prop config show --config configs/scale.toml
    """
    origins = settings_of(config=config).provenance()
    if json:
        for key, value, source in origins:
            print_json({"key": key, "value": value, "source": source})
        return
    print_table(
        ("SETTING", "VALUE", "FROM"),
        [[key, "" if value is None else str(value), source] for key, value, source in origins],
    )
