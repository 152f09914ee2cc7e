"""Blobs, read once: in processes of low priority, and remembered."""
