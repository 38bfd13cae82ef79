"""Schema migrations: Alembic without an ini file, run by `persistence.migrations.run`."""
