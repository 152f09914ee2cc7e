"""The schema's history (alembic). `schema.migrate` runs it; the parent calls that once before anything is served."""
