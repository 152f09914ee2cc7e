"""The description of the catalogue's API."""
