"""`prop migrate`: bring a database to the schema of this program."""

import time

from gateway.commands import options
from gateway.commands.place import database_of, settings_of
from gateway.commands.terminal import CommandError, print_json


def migrate(
    database_url: options.DatabaseUrl = None,
    data_dir: options.DataDir = None,
    config: options.ConfigFile = None,
    json: options.AsJson = False,
) -> None:
    """Bring the database to the schema of this program. Safe to run again, also at once from two places.

    `prop serve` does the same at its start.

    \b
    prop migrate --database-url postgresql://prop:secret@db/prop
    """
    settings = settings_of(data_dir, config)
    with database_of(settings, database_url) as url:
        import sqlalchemy.exc

        from persistence.migrations import run

        started = time.monotonic()
        try:
            before = run.current(url)
            run.upgrade(url)
            after = run.current(url)
        except run.NewerSchema as newer:
            raise CommandError(str(newer)) from None
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.ArgumentError) as error:
            why = str(getattr(error, "orig", error)).strip()
            raise CommandError(f"the schema was not changed: {why}") from None
    seconds = time.monotonic() - started
    if json:
        print_json({"before": before, "after": after, "seconds": round(seconds, 3)})
    elif before == after:
        print(f"the schema is at {after} already")
    else:
        print(f"the schema went from {before or 'nothing'} to {after} in {seconds:.1f} s")
