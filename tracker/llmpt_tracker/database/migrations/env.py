"""Run by alembic: migrate over the connection that `schema.migrate` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from llmpt_tracker.database.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
    transactional_ddl=True,
)
context.run_migrations()
