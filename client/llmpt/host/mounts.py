"""What kind of file system a path lies on: the agent keeps no state on a network's, and seeds nothing from one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

_NETWORK_KINDS = frozenset({
    "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "dvs", "fhgfs_fs", "fuse.alluxio", "fuse.alluxio-fuse",
    "fuse.beegfs", "fuse.blobfuse2", "fuse.ceph", "fuse.ceph-fuse", "fuse.curlftpfs", "fuse.cvmfs2", "fuse.davfs2",
    "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.lizardfs", "fuse.mfs", "fuse.mount-s3",
    "fuse.quobyte", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse", "fuse.weed", "gfs", "gfs2", "glusterfs",
    "gpfs", "kafs", "lustre", "moosefs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "quobyte", "smb",
    "smb2", "smb3", "smbfs", "wekafs",
})  # fmt: skip
# What a network's file system is mounted from: host:/path, //host/share.
_REMOTE_SOURCE = re.compile(r"//[^/]|[^/\s]+:/")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, of which kind (`ext4`, `nfs4`, `fuse.sshfs`), and from what."""

    point: Path
    kind: str
    source: str

    @property
    def is_network(self) -> bool:
        return self.kind in _NETWORK_KINDS or bool(_REMOTE_SOURCE.match(self.source))


class Mounts:
    """The mounts of this process, as the kernel lists them. On systems without /proc there are none: all is local."""

    def __init__(self, mounts: tuple[Mount, ...]) -> None:
        self._mounts = mounts

    @classmethod
    def read(cls, mountinfo: Path = MOUNTINFO) -> Mounts:
        try:
            lines = mountinfo.read_bytes().splitlines()
        except OSError:
            return cls(())
        found = []
        for line in lines:
            before, _, after = line.partition(b" - ")
            fields, rest = before.split(), after.split()
            if len(fields) > 4 and len(rest) > 1:
                found.append(Mount(Path(_unescape(fields[4])), os.fsdecode(rest[0]), _unescape(rest[1])))
        return cls(tuple(found))

    def of(self, path: Path) -> Mount | None:
        """Return the mount that `path` lies on (it need not exist yet); None when nothing is known."""
        real = Path(os.path.realpath(path))
        best: Mount | None = None
        for mount in self._mounts:
            covers = real == mount.point or mount.point in real.parents
            if covers and (best is None or len(mount.point.parts) >= len(best.point.parts)):
                best = mount  # of two at the same point the later one hides the other
        return best

    def network_kind(self, path: Path) -> str | None:
        """Return the kind of network file system that `path` lies on; None for a local one."""
        mount = self.of(path)
        return mount.kind if mount is not None and mount.is_network else None


class FolderKinds:
    """The kinds of network file systems that many paths lie on, with one look for each folder."""

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts
        self._kinds: dict[Path, str | None] = {}

    def of(self, path: Path) -> str | None:
        """As `Mounts.network_kind`."""
        if path.is_symlink():
            return self._mounts.network_kind(path)
        folder = path.parent
        if folder not in self._kinds:
            self._kinds[folder] = self._mounts.network_kind(folder)
        return self._kinds[folder]


def _unescape(field: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field))
