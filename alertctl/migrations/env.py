"""Alembic's entry point. Connection, transaction and lock come from `db.migrate`."""

from alembic import context
from sqlmodel import SQLModel

import alertctl.models  # noqa: F401  (its classes fill the metadata)
from alertctl.db.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
