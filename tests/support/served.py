"""A served engine: `prop serve` as an operator runs it, in processes of its own, to be called and to be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg

TOKEN = "served-engine-token-0123456789-abcdefghij"
READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 45.0


class Answered(Exception):
    """An HTTP answer that is a problem."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.code = problem.get("code")
        self.problem = problem


class Served:
    """One data folder, served once or several times in a row."""

    def __init__(self, data_dir: Path, port: int = 0, *, options: Sequence[str] = (), **environment: str) -> None:
        self.data_dir = data_dir
        self._port = port
        self._options = options
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._orphans: list[psutil.Process] = []
        self.run: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return str(self.run["url"])

    @property
    def database_url(self) -> str:
        return str(self.run["databaseUrl"])

    @property
    def environment(self) -> dict[str, str]:
        """What the program is started with."""
        return os.environ | {"PROP_BOOTSTRAP_TOKEN": TOKEN, "PROP_MARKING__CADENCE_MS": "0"} | self._environment

    def start(self, **more: str) -> None:
        """Start serving, with more in the environment for this once; returns when `run.json` says that it is ready."""
        run_file = self.data_dir / "run.json"
        run_file.unlink(missing_ok=True)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gateway.cli",
                    "serve",
                    "--data-dir",
                    str(self.data_dir),
                    "--port",
                    str(self._port),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                env=self.environment | more,
            )
        eventually(run_file.exists, "run.json", seconds_max=READY_SECONDS_MAX, alive=self._process)
        self.run = json.loads(run_file.read_text())

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, as an operator would, or another signal; returns the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(STOP_SECONDS_MAX)
        self._process = None
        return code

    def kill_program(self) -> None:
        """kill -9 of the program alone, gateway and Ray's driver in one; what it started may outlive it a while."""
        if self._process is not None:
            self._orphans += psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            self._process = None

    def end_orphans(self) -> None:
        """What programs that were killed have left behind."""
        for process in self._orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self._orphans, timeout=10)
        self._orphans.clear()

    def kill_everything(self) -> None:
        """kill -9 of the program and of every process it started, Postgres included, all at once."""
        if self._process is None:
            return
        doomed = [*psutil.Process(self._process.pid).children(recursive=True), *self._postgres()]
        self._process.kill()
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(doomed, timeout=10)
        self._process = None

    def program(self) -> psutil.Process:
        """The first process, which started all others."""
        if self._process is None:
            raise AssertionError("nothing is served")
        return psutil.Process(self._process.pid)

    def processes(self, title: str) -> list[psutil.Process]:
        """Descendants whose command line holds `title`, like `ray::AccountActor`."""
        if self._process is None:
            return []
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if title in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((next(self.data_dir.glob("**/postmaster.pid"))).read_text().splitlines()[0]))

    def _postgres(self) -> list[psutil.Process]:
        """None where the database is another's."""
        if "PROP_DATABASE_URL" in self._environment:
            return []
        postmaster = self.postmaster()
        return [postmaster, *postmaster.children(recursive=True)]

    def observe(self, symbol: str, bid: str, ask: str | None = None, *, age_s: float = 0.0, seen: bool = True) -> None:
        """Append a quote as Data Ingestion would; `seen` waits until the engine shows it."""
        self.execute(
            "insert into market_prices (symbol, bid, ask, source, observed_at)"
            " values (%s, %s, %s, 'test', clock_timestamp() - make_interval(secs => %s))",
            (symbol, bid, ask or bid, age_s),
        )
        if seen:
            wanted = f"{float(bid):.8f}"
            eventually(
                lambda: any(
                    each["bid"] == wanted for each in self.get(f"/api/v1/prop/prices?symbols={symbol}")["data"]
                ),
                f"{symbol} at {bid}",
            )

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def text(self, path: str) -> str:
        """What is there for everybody, as it is."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def get(self, path: str) -> Any:
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._call("POST", path, body or {})

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise Answered(refused.code, json.load(refused)) from None

    def trading_account(self, clone: str = "clone-1", **asked: Any) -> str:
        """A new account, started."""
        created = self.post("/api/v1/prop/accounts", {"ownerId": "owner-1", "cloneId": clone} | asked)
        self.post(f"/api/v1/prop/accounts/{created['id']}/start")
        return str(created["id"])

    def act(self, account: str, key: str, run: str = "run-1", **action: Any) -> dict[str, Any]:
        """Propose one action, an opening of a long unless told; the whole answer."""
        asked = {"decisionActionId": key, "action": "open", "symbol": "BTC-USD", "side": "long"} | action
        return dict(
            self.post(f"/api/v1/prop/accounts/{account}/decision-actions", {"decisionRunId": run, "actions": [asked]})
        )


def eventually(
    holds: Callable[[], object],
    what: str,
    *,
    seconds_max: float = 20.0,
    alive: "subprocess.Popen[bytes] | None" = None,
) -> None:
    """Wait for a condition, by looking again and again, at most so long."""
    until = time.monotonic() + seconds_max
    while not holds():
        if alive is not None and alive.poll() is not None:
            raise AssertionError(f"the process ended with {alive.returncode} before {what}")
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come within {seconds_max:g} s")
        time.sleep(0.05)


@contextlib.contextmanager
def served(data_dir: Path, *, options: Sequence[str] = (), **environment: str) -> Iterator[Served]:
    """An engine on a data folder, stopped at the end whatever happened; `options` are more of `prop serve`."""
    engine = Served(data_dir, 0, options=options, **environment)
    engine.start()
    try:
        yield engine
    finally:
        try:
            engine.stop()
        except subprocess.TimeoutExpired:
            engine.kill_everything()
            raise
