"""The `prop` command: which commands there are, and how they fail.

Owns no work: each command is a module of `gateway.commands`, which imports what it needs when it runs, so that
`prop --help` is quick and loads neither Ray nor a web server.

Exit codes: 0 done, 1 found something wrong (`status`, `verify`, `rebuild`, `bench`), 2 could not do it (usage,
unreachable, refused).
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from gateway.commands import (
    accounts,
    api,
    bench,
    config,
    demo,
    mark_to_market,
    migrate,
    rebuild,
    serve,
    simulate,
    status,
    token,
    verify,
)
from gateway.commands.terminal import UNHEARD, CommandError, silence

app = typer.Typer(
    name="prop",
    help="The prop trading account engine: every action judged, booked and durable before it is answered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # paragraphs are wrapped, examples are left as they stand
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve.serve)
app.command()(demo.demo)
app.command()(status.status)
app.command()(accounts.accounts)
app.command()(api.api)
app.command()(verify.verify)
app.command()(rebuild.rebuild)
app.command()(migrate.migrate)
app.command()(bench.bench)
app.command()(simulate.simulate)
app.add_typer(token.app)
app.add_typer(mark_to_market.app)
app.add_typer(config.app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="prop")
    except CommandError as error:
        print(f"prop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        silence()
        sys.exit(UNHEARD)
    sys.exit(0)


if __name__ == "__main__":
    main()
