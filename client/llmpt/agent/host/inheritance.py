"""What a process inherits from its starter and an agent gives up: it starts clean, whatever state its starter is in.

A starter may have ignored or blocked signals, closed its standard streams, lowered its own limits and priority, or have been
pinned to one processor. None of it may be an agent's for weeks. Its environment is `llmpt.link.environment`'s.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal

MOST_DESCRIPTORS = 1 << 20  # where there is no limit: a table of more has no use
_MAC_DESCRIPTORS = 10240  # OPEN_MAX of macOS, above which the kernel refuses what it calls unlimited
_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_DATA")
_PYTHONS_OWN = frozenset({signal.SIGPIPE, signal.SIGXFSZ})  # it ignores them, and has exceptions instead
UMASK = 0o077


def give_up() -> None:
    """Leave all of it behind, as far as the kernel lets us. The signal of a terminal that goes away may stay ignored (nohup)."""
    _open_streams()
    _close_others()
    _reset_signals()
    _raise_limits()
    _be_ordinary()
    os.umask(UMASK)
    os.chdir("/")


def _open_streams() -> None:
    """Open what is closed of the first three descriptors: what is opened next must not become stderr."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(descriptor, True)


def _close_others() -> None:
    """Close the files of the starter: a pipe that stays open in us would have its reader wait for weeks."""
    with contextlib.suppress(OSError):
        for descriptor in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - names, no paths
            with contextlib.suppress(OSError):
                if descriptor > 2 and os.get_inheritable(descriptor):  # what was opened by this Python is not
                    os.close(descriptor)


def _reset_signals() -> None:
    for number in signal.valid_signals() - _PYTHONS_OWN - {signal.SIGHUP}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _raise_limits() -> None:
    for name in _LIMITS:
        limit = getattr(resource, name)
        soft, hard = resource.getrlimit(limit)
        wanted = [hard]
        if name == "RLIMIT_NOFILE" and hard in (resource.RLIM_INFINITY, -1):
            wanted = [MOST_DESCRIPTORS, _MAC_DESCRIPTORS]
        for value in wanted:
            if soft in (resource.RLIM_INFINITY, -1) or 0 <= value <= soft:
                break
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, (value, hard))
                break


def _be_ordinary() -> None:
    """Run as any process does: at the ordinary priority, on all processors."""
    with contextlib.suppress(OSError):  # only a privileged process may
        if os.getpriority(os.PRIO_PROCESS, 0) > 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the kernel leaves out those of other cpusets
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(0) != os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
