"""A file of a commit in the headers of the Hub's API."""

from __future__ import annotations

from urllib.parse import quote


def file_headers(commit: str, path: str, size: int, etag: str, *, outside_git: bool) -> dict[str, str]:
    """Return the headers of `resolve`: `size` in bytes; `outside_git`: in LFS or Xet, where the linked ones name the content."""
    name = path.rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().translate({34: "_", 63: "_"})
    headers = {
        "X-Repo-Commit": commit,
        "ETag": f'"{etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}; filename=\"{plain}\";",
    }
    return headers | ({"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)} if outside_git else {})
