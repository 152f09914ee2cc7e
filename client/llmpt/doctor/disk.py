"""Checks of the disks: is there room for downloads and for the agent's state, and on what file systems do they lie?"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rich.filesize import decimal

from llmpt.agent.host import places
from llmpt.core.errors import AgentUnavailable
from llmpt.disk.locking import why_no_locks
from llmpt.doctor.context import Context
from llmpt.doctor.finding import Finding, fail, ok, skip, warn
from llmpt.host.mounts import Mounts

LITTLE_BYTES = 10 << 30
NOTHING_BYTES = 50 << 20
_ROOM = "make room (`hf cache prune` removes old revisions), or set HF_HUB_CACHE to another disk"


def space(context: Context) -> Finding:
    """Can the Hub cache and the agent's state be written, and is there room?"""
    try:
        state = places.state_dir()
    except AgentUnavailable as error:
        return fail(str(error), "the agent needs a folder of its own to write to: set XDG_STATE_HOME")
    for what, folder in (("the Hub cache", context.cache), ("the agent's state", state)):
        existing = _existing(folder)
        free = shutil.disk_usage(existing).free
        if free < NOTHING_BYTES:
            return fail(f"{what} at {folder} has {decimal(free)} left", _ROOM)
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError as error:
            return fail(
                f"{what} at {folder} cannot be written: {error.strerror}", "correct its owner and mode, or set HF_HUB_CACHE"
            )
    free = shutil.disk_usage(_existing(context.cache)).free
    if free < LITTLE_BYTES:
        return warn(f"the Hub cache at {context.cache} has {decimal(free)} left", _ROOM)
    return ok(f"{decimal(free)} free for the Hub cache at {context.cache}")


def file_system(context: Context) -> Finding:
    """Does the Hub cache lie on a local file system, so that what it holds can be shared?"""
    mounts = Mounts.read(context.proc / "self" / "mountinfo")
    kind = mounts.network_kind(context.cache)
    if kind is not None:
        return warn(
            f"the Hub cache at {context.cache} lies on a network's file system ({kind}): used, but not seeded from",
            "set HF_HUB_CACHE to a local disk, and every machine serves the others",
        )
    mount = mounts.of(context.cache)
    return ok(f"the Hub cache lies on {mount.kind if mount else 'a local file system'}")


def locks(context: Context) -> Finding:
    """Does a lock in the Hub cache keep other processes away?"""
    try:
        reason = why_no_locks(_existing(context.cache))
    except OSError as error:
        return skip(f"nothing can be made at {context.cache}: {error.strerror}")
    if reason is not None:
        return warn(
            f"the file system of the Hub cache at {context.cache} does not lock: {reason}. Each download has a file of its own, "
            "and a killed one goes on only on the same machine, until that is started anew",
            "mount it with locks (Lustre: `-o flock`; NFS: without `nolock`), or set HF_HUB_CACHE to a local disk",
        )
    return ok("a lock in the Hub cache keeps other processes away")


def _existing(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())
