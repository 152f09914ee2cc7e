"""The machine that we run on: its networks, mounts, processes and loops. Used by every role."""
