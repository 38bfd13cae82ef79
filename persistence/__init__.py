"""Postgres: the ledger, its projections and the way back from them. Knows engine messages, never actors."""
