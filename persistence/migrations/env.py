"""Alembic's environment: runs the versions on the connection that `run` opened and locked.

Refuses to run on its own: without the advisory lock two migrators could meet.
"""

from alembic import context

from persistence.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through persistence.migrations.run (`prop migrate`), which takes the lock")

context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
