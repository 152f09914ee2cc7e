"""The schema's history (alembic). `Database.migrate` runs it; the parent calls that once before anything is served."""
