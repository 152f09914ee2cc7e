"""The tracker's database: tables, sessions, and the steps that made it."""
