"""The Hub, asked by ourselves: which repos are public, and whole snapshots."""
