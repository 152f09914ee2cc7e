"""Blobs that are wanted on this machine: one job for each, from a program's request to a verified file.

`jobs` owns them; a `job` sees (`sight`), decides (`decision`, a pure function), and carries the step out (`work`), from
state to state (`state`); the programs that wait for it are its `subscribers`. docs/jobs.md lists the cases.
"""
