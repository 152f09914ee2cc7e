"""A file of a commit in the headers of the Hub's API, and its name on the way to the server that has its bytes."""

from __future__ import annotations

from urllib.parse import quote, unquote

from llmpt.core.errors import InvalidName
from llmpt.core.repo import check_path

_NAME = "name="
_MAX_QUERY = 1000  # a name has 255 bytes, each of them escaped

NO_SUCH_FILE = "EntryNotFound"  # the Hub's X-Error-Code, also for what is no file of a commit
NO_SUCH_COMMIT = "RevisionNotFound"
ASKED_HUB = "X-Llmpt-Hub"  # in a question to a tracker: which Hub it is to stand in for
OTHER_HUB = 421  # its answer: for that one it does not


def file_headers(commit: str, path: str, size: int, etag: str, *, outside_git: bool) -> dict[str, str]:
    """Return the headers of `resolve`: `size` in bytes; `outside_git`: in LFS or Xet, where the linked ones name the content."""
    headers = {
        "X-Repo-Commit": commit,
        "ETag": f'"{etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": disposition(path),
    }
    return headers | ({"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)} if outside_git else {})


def disposition(path: str) -> str:
    """Return the Content-Disposition of a file, by whose name programs save it (RFC 6266). Without the semicolon that the Hub's
    has at its end: by that one aria2 knows no name."""
    name = path.rpartition("/")[2]
    plain = name.encode("ascii", "replace").decode().translate({34: "_", 63: "_"})
    return f"inline; filename*=UTF-8''{quote(name)}; filename=\"{plain}\""


def named(url: str, path: str) -> str:
    """Return the URL of a blob with the name under which a client that is sent there should save it."""
    return f"{url}?{_NAME}{quote(path.rpartition('/')[2], safe='')}"


def name_in(query: str) -> str | None:
    """Return the file's name in the query of a blob's URL; None: there is none, or what stands there is no file's name."""
    if not query.startswith(_NAME) or len(query) > _MAX_QUERY:
        return None
    name = unquote(query.removeprefix(_NAME), errors="replace")
    try:
        return check_path(name) if "/" not in name else None
    except InvalidName:
        return None
