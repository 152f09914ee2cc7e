"""`llmpt doctor`: looks at everything a download through the LAN depends on, and names what is wrong and what to do.

Each check is a small function from a `Context` to a `Finding`, in the module of what it looks at; `CHECKS` lists them in
the order in which things build on each other. A check never raises for what it looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmpt.core.errors import LlmptError
from llmpt.doctor import agent, disk, elsewhere, installation, network, tracker, transfer
from llmpt.doctor.context import Context
from llmpt.doctor.finding import FAIL, OK, SKIP, WARN, Finding

__all__ = ["CHECKS", "FAIL", "OK", "SKIP", "WARN", "Context", "Finding", "examine"]

CHECKS: dict[str, Callable[[Context], Finding]] = {
    "settings": installation.settings,
    "python": installation.python,
    "libtorrent": installation.libtorrent,
    "huggingface_hub": installation.library,
    "hook": installation.hook,
    "tracker": tracker.answers,
    "version": tracker.version,
    "clock": tracker.clock,
    "announce port": tracker.announce_port,
    "blob port": tracker.blob_port,
    "agent": agent.running,
    "peer port": agent.peer_port,
    "sharing": agent.sharing,
    "firewall": network.firewall,
    "NAT": network.nat,
    "proxies": network.proxies,
    "disk space": disk.space,
    "file system": disk.file_system,
    "locks": disk.locks,
    "other Pythons": elsewhere.pythons,
    "containers": elsewhere.containers,
    "test transfer": transfer.test_transfer,
}


def examine(context: Context) -> Iterator[tuple[str, Finding]]:
    """Yield the name of each check and what it found, one after the other; one that stumbles doesn't end the round."""
    for name, check in CHECKS.items():
        try:
            yield name, check(context)
        except (LlmptError, OSError) as error:
            yield name, Finding(FAIL, f"could not be looked at: {error}", "see to what it names, and run this again")
        except Exception as error:  # noqa: BLE001 - what this Python has installed raises what it likes
            said = f"could not be looked at: {type(error).__name__}: {error}"
            yield name, Finding(FAIL, said, "if what it names is in order, report this as a fault of llmpt")
