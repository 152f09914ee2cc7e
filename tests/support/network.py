"""Machines that are apart on one host: a network namespace for each, and a bridge between them (Linux).

Loopback is not a LAN: its addresses are all this host's own, and what is sent there meets no queue. A program that uses this
runs in namespaces of its own, which end with it, so that nobody needs to be root.

    if not network.is_apart("tests.bench.hostile"):  # starts the module again, in namespaces
        return

    with network.Host("ann", 2) as ann, ann.inside():
        socket.create_connection((network.SERVER, 8000))
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

SERVER, SERVER_V6 = "10.66.0.1", "fd66::1"
_APART = "LLMPT_TEST_APART"
_CLONE_NEWNET = 0x40000000
_UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def is_apart(module: str) -> bool:
    """Say whether this process is in namespaces of its own; if not, run the module in some, or say what that needs."""
    if _APART in os.environ:
        return True
    if not _run_apart(module):
        print("not measured: this needs Linux with user namespaces, unshare(1) and ip(8) (apt-get install iproute2)")
    return False


def _run_apart(module: str) -> bool:
    if shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return False
    try:
        if subprocess.run([*_UNSHARE, "true"], capture_output=True, timeout=10, check=False).returncode:
            return False
    except OSError:
        return False
    environ = os.environ | {_APART: "1", "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    subprocess.run([*_UNSHARE, sys.executable, "-m", module], env=environ, check=True)
    return True


def open_bridge() -> None:
    """Make the network, of which this process is the server. For a process that `is_apart`."""
    for command in (
        "link set lo up",
        "link add lan type bridge",
        f"addr add {SERVER}/24 dev lan",
        f"-6 addr add {SERVER_V6}/64 dev lan nodad",
        "link set lan up",
    ):
        _ip(command)


def open_own(prefix: str) -> None:
    """Make every address of a prefix one from which this process may connect to itself. For a process that `is_apart`."""
    for command in ("link set lo up", f"route add local {prefix} dev lo"):
        _ip(command)


class Host:
    """A machine of the network, 10.66.0.`number` and fd66::`number`, whose cable takes `rate` each way. A context manager.

    Without a rate, what one machine sends fills the kernel's queue of all, and others lose packets that no switch would drop.
    """

    def __init__(self, name: str, number: int, *, rate: str = "1gbit") -> None:
        self.name, self.v4, self.v6, self._rate = name, f"10.66.0.{number}", f"fd66::{number}", rate

    def __enter__(self) -> Host:
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self._space = Path(f"/proc/{self._holder.pid}/ns/net")
        near, far = f"to-{self.name}", f"of-{self.name}"
        _ip(f"link add {near} type veth peer name {far} netns {self._holder.pid}")
        _ip(f"link set {near} master lan up")
        self._limit(near)
        with self.inside():
            self._limit(far)
            for command in ("link set lo up", f"addr add {self.v4}/24 dev {far}", f"-6 addr add {self.v6}/64 dev {far} nodad"):
                _ip(command)
            _ip(f"link set {far} up")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this machine: what this thread opens and starts meanwhile is."""
        with Path("/proc/thread-self/ns/net").open() as outside:
            with self._space.open() as space:
                _set_namespace(space.fileno())
            try:
                yield
            finally:
                _set_namespace(outside.fileno())

    def has_addresses(self, prefix: str) -> None:
        """Let it have all addresses of an IPv6 prefix: what answers neighbour solicitations for them has."""
        _ip(f"-6 route add {prefix} via {self.v6} dev lan")
        with self.inside():
            _ip(f"-6 route add local {prefix} dev lo")

    def timeouts(self) -> int:
        """Return how often its kernel has waited in vain for a word of TCP, and sent again."""
        return counters(self._holder.pid)["TCPTimeouts"]

    def set_rate(self, rate: str) -> None:
        """Let its cable take `rate` each way from now on, in the words of tc(8)."""
        self._rate = rate
        self._limit(f"to-{self.name}")
        with self.inside():
            self._limit(f"of-{self.name}")

    def _limit(self, device: str) -> None:
        command = f"tc qdisc replace dev {device} root tbf rate {self._rate} burst 256k latency 20ms"
        subprocess.run(command.split(), check=True)

    def received_bytes(self) -> int:
        """Return how many bytes have come to it."""
        return self._counted()[0]

    def sent_bytes(self) -> int:
        """Return how many bytes it has sent."""
        return self._counted()[8]

    def _counted(self) -> list[int]:
        lines = Path(f"/proc/{self._holder.pid}/net/dev").read_text().splitlines()
        return next([*map(int, line.split()[1:])] for line in lines if line.strip().startswith(f"of-{self.name}:"))


def counters(pid: int) -> dict[str, int]:
    """Return what the kernel counts of TCP in the network of a process (TcpExt of netstat(8))."""
    names, numbers = [line.split()[1:] for line in Path(f"/proc/{pid}/net/netstat").read_text().splitlines()[:2]]
    return dict(zip(names, map(int, numbers), strict=True))


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def _set_namespace(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
