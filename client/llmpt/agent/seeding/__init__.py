"""Blobs that lie on this machine, and are seeded from where they lie."""
