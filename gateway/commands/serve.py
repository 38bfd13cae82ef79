"""`prop serve`: the whole engine in the foreground."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import foreground, options
from gateway.commands.place import BOOTSTRAP_VARIABLE, BootstrapToken, bootstrap_token, owned, settings_of
from gateway.commands.terminal import print_aligned, print_json, print_line

if TYPE_CHECKING:
    from gateway.bootstrap import Engine, Stage
    from gateway.commands.foreground import StopSignal

Host = Annotated[
    str | None,
    typer.Option("--host", metavar="H", help="Interface to listen on; 127.0.0.1.", show_default=False),
]


def serve(
    context: typer.Context,
    data_dir: options.DataDir = None,
    port: options.Port = None,
    host: Host = None,
    config: options.ConfigFile = None,
    json: options.AsJson = False,
) -> None:
    """Start the engine and stay in the foreground; Ctrl-C stops everything it started.

    PostgreSQL comes along unless PROP_DATABASE_URL names one, Ray runs on this machine unless RAY_ADDRESS names a
    cluster. PROP_BOOTSTRAP_TOKEN (32 characters or more) becomes an admin token; without it, on the PostgreSQL that
    comes along, one is made at the first start and kept in DIR/token. DIR/run.json tells when the engine is ready.

    \b
    prop serve
    prop serve --data-dir ./state --port 9000 --config configs/scale.toml
    PROP_DATABASE_URL=postgresql://prop:secret@db/prop RAY_ADDRESS=ray-head:6379 prop serve
    """
    settings = settings_of(data_dir, config, {"gateway.port": port, "gateway.host": host})
    context.with_resource(owned(settings.data_dir))
    token = bootstrap_token(settings)

    def report(stage: "Stage") -> None:
        if json:
            print_json({"stage": stage.name, "detail": stage.detail, "seconds": round(stage.seconds, 3)})
        else:
            foreground.print_stage(stage)

    stopping = 0.0

    def on_stop() -> None:
        nonlocal stopping
        stopping = time.monotonic()
        if not json:
            print_line("\n  stopping: finishing what is in flight (once more to end at once)")

    async def work(engine: "Engine", stop: "StopSignal") -> None:
        if json:
            print_json({"ready": _ready(engine, token)})
        else:
            _print_ready(engine, token)
        await stop.wait()

    foreground.run_engine(settings, token=token.text if token else None, report=report, work=work, on_stop=on_stop)
    if stopping and not json:
        print_line(f"  stopped in {time.monotonic() - stopping:.1f} s")


def _ready(engine: "Engine", token: BootstrapToken | None) -> dict[str, str | None]:
    return {
        "url": engine.url,
        "databaseUrl": engine.database_url,
        "rayAddress": engine.ray_address,
        "dataDir": str(engine.data_dir),
        "token": token.text if token and token.is_new else None,
        "tokenFile": str(token.file) if token and token.file else None,
    }


def _print_ready(engine: "Engine", token: BootstrapToken | None) -> None:
    print()
    print_aligned(
        {
            "API": f"{engine.url}/api/v1/prop",
            "Docs": f"{engine.url}/docs",
            "Token": _token_line(token),
            "Data": str(engine.data_dir),
        }
    )
    if engine.settings.ray.address is None:
        print_line("\n  Ctrl-C stops everything it started")
    else:
        print_line(
            "\n  Ctrl-C stops this gateway; the actors stay on the cluster, for other gateways and the next start"
        )


def _token_line(token: BootstrapToken | None) -> str:
    match token:
        case None:
            return "those in the database; make one with `prop token create SERVICE --scope prop:trade`"
        case BootstrapToken(file=None):
            return f"as in {BOOTSTRAP_VARIABLE}"
        case BootstrapToken(text=text, file=file, is_new=True):
            return f"{text} (admin; also in {file})"
        case BootstrapToken(file=file):
            return f"admin, in {file}"
