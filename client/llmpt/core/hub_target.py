"""What a request to the Hub asks for, read from its raw target (still percent-encoded).

A revision may hold slashes (`feature%2Fx`, `refs%2Fpr%2F1`), so the target is split first, and each segment unquoted once;
a WSGI server's decoded path has lost that. A repo's id has one or two segments: the first word of the grammar in second or
third place, with enough behind it, ends it. Empty segments (`//`, a slash at the end) count for nothing.

    /{id}/resolve/{revision}/{path}             files; datasets/, spaces/ or kernels/ may stand in front
    /{id}/raw/{revision}/{path}
    /api/models/{id}[/revision/{revision}]      and /api/datasets/…, /api/spaces/…, /api/kernels/…
    /api/models/{id}/tree/{revision}[/{path}]
    /api/models/{id}/{paths-info|commits}/{revision}, /api/models/{id}/{refs|auth-check}
    /api/models                                 the list
    /api/organizations/{name}/overview          and /api/users/…
    /api/whoami-v2, /api/agent-harnesses, /api/telemetry/…
    /v2/{id}/manifests/{tag}                    a GGUF file by its quantisation
    /{id}[.git]/info/refs and what else git asks for, to be told that it is not spoken here

Nothing is checked here but the shape: whether such a repo, revision or file can be is asked of the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from llmpt.core.repo import REPO_TYPES

UNKNOWN, GIT, OWNER, MANIFEST = "unknown", "git", "owner", "manifest"
BESIDE = frozenset({UNKNOWN, GIT, OWNER, MANIFEST})  # what no download asks for
_TYPES = {f"{kind}s": kind for kind in REPO_TYPES}
_FILES = {"resolve": 2, "raw": 2}  # word → how many segments must follow
_OF_A_REPO = {"revision": 1, "tree": 1, "paths-info": 1, "commits": 1, "refs": 0, "auth-check": 0}
_NOT_HERE = {"discussions": 0, "xet-read-token": 0, "resolve": 1, "raw": 1}
_LONE = {"whoami-v2": "whoami", "agent-harnesses": "harnesses", "telemetry": "telemetry"}
_GIT = {"info", "git-upload-pack", "git-receive-pack", "HEAD", "objects"}
_OWNERS = ("organizations", "users")
_NAMESPACES = ("pr", "convert")  # of refs/, which clients also send unquoted


@dataclass(frozen=True, slots=True)
class HubTarget:
    """A request to the Hub.

    `route`: a word of the grammar, or `info`, `list`, `whoami`, `harnesses`, `telemetry`, `owner`, `git`, `manifest`,
        `unknown`.
    `revision`: None where none was given.
    `path`: empty for the root; the name of an owner; the tag of a manifest.
    """

    route: str
    repo_type: str = "model"
    repo_id: str = ""
    revision: str | None = None
    path: str = ""


def hub_name(url: str) -> str:
    """Return what two ways to write the address of one Hub have in common."""
    scheme, mark, rest = url.strip().partition("://")
    host, slash, path = rest.partition("/")
    port = {"https": ":443", "http": ":80"}.get(scheme.lower(), " ")
    return f"{scheme.lower()}{mark}{host.lower().removesuffix(port)}{slash}{path}".rstrip("/")


def parse(raw: str) -> HubTarget | None:
    """Read a request's target as the server got it (bytes as Latin-1, as WSGI has it). None: it is not the Hub's."""
    path = raw.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):  # the absolute form, which proxies send
        path = "/" + path.partition("://")[2].partition("/")[2]
    segments = [segment for segment in path.split("/") if segment]
    if segments[:1] != ["api"]:
        return _file(segments)
    if len(segments) == 1 or segments[1] == "v1" or segments[1:] == ["docs"]:
        return None
    return _api(segments[1:])


def _file(segments: Sequence[str]) -> HubTarget | None:
    kind = "model"
    if segments[:1] == ["v2"] and segments[3:4] == ["manifests"] and len(segments) == 5:
        return HubTarget(MANIFEST, kind, "/".join(map(_text, segments[1:3])), path=_text(segments[4]))
    if segments and segments[0] != "models" and segments[0] in _TYPES:
        kind, segments = _TYPES[segments[0]], segments[1:]
    at = _word(segments, _FILES)
    return _target(segments[at], kind, segments, at) if at else _git(segments, kind)


def _git(segments: Sequence[str], kind: str) -> HubTarget | None:
    """Read what git and git-lfs ask for."""
    for at in (1, 2):
        if at < len(segments) and segments[at] in _GIT:
            is_git = segments[at] not in ("info", "objects") or segments[at + 1 : at + 2] in (["refs"], ["lfs"], ["info"])
            repo_id = "/".join(map(_text, segments[:at])).removesuffix(".git")
            return HubTarget(GIT, kind, repo_id, path="/".join(segments[at:])) if is_git else None
    return None


def _api(segments: Sequence[str]) -> HubTarget:
    first = _text(segments[0])
    if first in _LONE:
        return HubTarget(_LONE[first])
    if first in _OWNERS and len(segments) == 3 and segments[2] == "overview":
        return HubTarget(OWNER, path=_text(segments[1]))
    if first not in _TYPES:
        return HubTarget(UNKNOWN)
    kind, rest = _TYPES[first], segments[1:]
    if not rest:
        return HubTarget("list", kind)
    if at := _word(rest, _OF_A_REPO | _NOT_HERE):
        is_here = rest[at] not in _NOT_HERE
        return _target(rest[at], kind, rest, at) if is_here else HubTarget(UNKNOWN, kind, "/".join(map(_text, rest[:at])))
    return HubTarget("info" if len(rest) <= 2 else UNKNOWN, kind, "/".join(map(_text, rest[:2])))


def _word(segments: Sequence[str], words: dict[str, int]) -> int:
    """Return where the grammar's word stands; 0 when there is none."""
    for at in (1, 2):
        if at < len(segments) and segments[at] in words and len(segments) - at - 1 >= words[segments[at]]:
            return at
    return 0


def _target(word: str, kind: str, segments: Sequence[str], at: int) -> HubTarget:
    rest = list(map(_text, segments[at + 1 :]))
    words = 3 if rest[:1] == ["refs"] and len(rest) >= 3 and rest[1] in _NAMESPACES else 1
    revision = "/".join(rest[:words]) or None
    route = "info" if word == "revision" else word
    return HubTarget(route, kind, "/".join(map(_text, segments[:at])), revision, "/".join(rest[words:]))


def _text(segment: str) -> str:
    """Unquote a segment, once. What is no UTF-8 becomes U+FFFD, and is then the name of nothing."""
    return unquote(segment.encode("latin-1", "replace").decode("utf-8", "replace"), errors="replace")
