"""The engine in this process on a real Postgres, for the client to call."""

from tests.e2e.gateway.conftest import door, engine

__all__ = ["door", "engine"]
