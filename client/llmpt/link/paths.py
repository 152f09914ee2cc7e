"""Where the hook and the machine's agent meet: a Unix socket in a folder that only its user can enter, and what is beside it."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmpt.core.errors import AgentUnavailable
from llmpt.link import state

# The kernel's limit for the path of a Unix socket is 108 bytes on Linux, 104 on macOS, one of them the closing NUL.
MAX_SOCKET_PATH_BYTES = 103
TEMPORARY = Path("/tmp")  # noqa: S108 - who owns our folder in it is checked
BESIDE_STATE = ".run"


def runtime_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of the agent's socket, of mode 0700: the one that this user's agent serves from, whichever session has
    started it, else the first of these that can be had: `$XDG_RUNTIME_DIR/llmpt`, `/tmp/llmpt-<uid>`, and
    `~/.local/state/llmpt/<host>.run`.

    An XDG_RUNTIME_DIR that belongs to another user (as after `su`) or cannot be made doesn't count. A session that has none
    (cron, a service) takes what a login has, `/run/user/<uid>`. Where else an agent serves from, its note says: a user has one.
    Raises `AgentUnavailable` when no folder can be had, since each belongs to another user, is a symbolic link, or the like.
    """
    folders = _folders(environ)
    for folder in itertools.chain(folders, state.noted(environ)):
        if _has_agent(folder, environ):
            return private_folder(folder)
    return first_private(folders)


def _folders(environ: Mapping[str, str]) -> list[Path]:
    """Return what an agent of this session may serve from, the best first."""
    found = []
    base, login = environ.get("XDG_RUNTIME_DIR", ""), Path(f"/run/user/{os.getuid()}")
    if base.startswith("/"):
        if _can_be_own(Path(base)):
            found.append(Path(base) / "llmpt")
    elif not base and _is_own(login):
        found.append(login / "llmpt")
    found.append(TEMPORARY / f"llmpt-{os.getuid()}")  # the owner is checked; TMPDIR differs between processes
    at_home = state.at_home(environ)
    return found if at_home is None else [*found, at_home.with_name(at_home.name + BESIDE_STATE)]


def first_private(folders: Iterable[Path]) -> Path:
    """Return the first of these that can be had as `private_folder`; raise what was said of the first, if none can be."""
    first: AgentUnavailable | None = None
    for folder in folders:
        try:
            return private_folder(folder)
        except AgentUnavailable as error:
            first = first or error
    raise first or AgentUnavailable("the agent has no folder")


def _has_agent(folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether an agent of this user's lives there, and asks the same tracker, as far as that is known."""
    import fcntl  # not at the top: Windows has none

    try:
        if not _is_own(folder):
            return False
        descriptor = os.open(folder / "agent.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        theirs = os.pread(descriptor, 4096, 0).decode(errors="replace").partition(" ")[2].rstrip("/")
        ours = environ.get("LLMPT_TRACKER", "").strip().rstrip("/")
        return not (theirs and ours) or theirs == ours
    except OSError:
        pass  # nothing can be locked there
    finally:
        os.close(descriptor)
    return False


def _is_own(folder: Path) -> bool:
    try:
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    except OSError:
        return False


def private_folder(folder: Path) -> Path:
    """Make `folder` with mode 0700, or make sure that it is this user's own. Raises `AgentUnavailable` when it cannot be had."""
    try:
        folder.mkdir(mode=0o700, parents=folder.name.endswith(BESIDE_STATE), exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise AgentUnavailable(f"{folder} is not a folder of this user's, so it is not safe to use")
        if stat.S_IMODE(found.st_mode) & 0o777 != 0o700:
            folder.chmod(0o700)  # also where this program's umask would take it from us
        if not os.access(folder, os.W_OK | os.X_OK):
            raise AgentUnavailable(f"the agent's folder {folder} cannot be written")  # as on a root that is read-only
    except OSError as error:
        raise AgentUnavailable(f"the agent's folder {folder} cannot be used: {error.strerror}") from None
    return folder


def _can_be_own(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def socket_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the agent's socket. Raises `AgentUnavailable` as `runtime_dir`, or when it is too long."""
    path = runtime_dir(environ) / "agent.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise AgentUnavailable(f"XDG_RUNTIME_DIR is too long for a socket: {path}")
    return path


def log_path(environ: Mapping[str, str]) -> Path:
    """Return where a started agent writes its log."""
    return runtime_dir(environ) / "agent.log"


def start_lock_path(environ: Mapping[str, str]) -> Path:
    """Return the file whose `flock` makes the start of an agent single."""
    return runtime_dir(environ) / "start.lock"


def lock_path(environ: Mapping[str, str]) -> Path:
    """Return the file whose `flock` the agent holds as long as it lives."""
    return runtime_dir(environ) / "agent.lock"


def connect(path: Path, *, timeout_s: float) -> socket.socket | None:
    """Return a connection to what listens at `path`; None when nothing does. Raises `OSError` when it takes too long."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def peer_of(connection: socket.socket) -> int:
    """Return the process at the other end; 0 when it cannot be told or seen from here."""
    if sys.platform.startswith("linux"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[0])
    return connection.getsockopt(0, 2)  # macOS: SOL_LOCAL, LOCAL_PEERPID


def open_lock(path: Path) -> int:
    """Open a file that is locked, and make it if need be; whatever this program's umask is, the next one can open it, too."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except PermissionError:
        path.chmod(0o600)
        descriptor = os.open(path, flags, 0o600)
    if os.fstat(descriptor).st_mode & 0o600 != 0o600:
        os.fchmod(descriptor, 0o600)
    return descriptor
