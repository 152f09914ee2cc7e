"""One question of huggingface_hub to its Hub, in the words of no HTTP library."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from llmpt.core.errors import InvalidName
from llmpt.core.hub_target import BESIDE, HubTarget, parse
from llmpt.core.repo import Commit, RepoRef

DEFAULT_REVISION = "main"
_TRUE = ("true", "1")
_LISTINGS = frozenset({"info", "tree", "paths-info", "refs", "commits"})
_OF_THE_HUB = frozenset({"refs", "commits"})  # what else there is beside the commit


def _no_body() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the Hub.

    method, raw: its request line: the target with its query, still percent-encoded
    target: what that asks for
    part: its Range header; empty for the whole
    program: its User-Agent
    content_type, body: of a POST; the body is read when it is needed
    """

    method: str
    raw: str
    target: HubTarget
    part: str = ""
    program: str = ""
    content_type: str = ""
    body: Callable[[], bytes] = _no_body

    @classmethod
    def of(cls, method: str, raw: str, headers: Callable[[str], str | None], body: Callable[[], bytes]) -> Question | None:
        """Read a request; None for one that only the Hub can answer, such as an upload. `headers` finds one by its name."""
        target = parse(raw)
        if target is None or target.route in BESIDE:
            return None
        if method not in ("GET", "HEAD") and (method, target.route) != ("POST", "paths-info"):
            return None
        part, program, kind = (headers(name) or "" for name in ("Range", "User-Agent", "Content-Type"))
        return cls(method, raw, target, part, program, kind, body)

    @property
    def repo(self) -> RepoRef | None:
        """The repo that is asked about; None: none, or one that cannot be."""
        try:
            return RepoRef(self.target.repo_type, self.target.repo_id) if self.target.repo_id else None
        except InvalidName:
            return None

    @property
    def revision(self) -> str:
        return self.target.revision or DEFAULT_REVISION

    @property
    def commit(self) -> str | None:
        """The revision, when it is a commit."""
        try:
            return Commit(self.revision).value
        except InvalidName:
            return None

    @property
    def is_of_file(self) -> bool:
        return self.target.route == "resolve"

    @property
    def is_listing(self) -> bool:
        """Whether it asks what a repo or a commit holds. A later page of the Hub's own listing is none: only the Hub has it."""
        return self.target.route in _LISTINGS and "cursor" not in self._query()

    @property
    def follows_from_commit(self) -> bool:
        """Whether the files of a commit are all of the answer: not fame, not who changed a file last, not what other refs there
        are, not the card of a repo without a revision."""
        if self.is_of_file:
            return True
        if not self.is_listing or self.target.revision is None or self.target.route in _OF_THE_HUB:
            return False
        query = self._query()
        if self.target.route == "info":
            return not query.keys() & {"expand", "securityStatus", "files_metadata"}
        expand = query.get("expand", ["false"])
        if self.target.route == "paths-info":
            expand = self._expand_of_body()
        return not any(text.lower() in _TRUE for text in expand)

    def at(self, commit: str) -> str:
        """Return the target of the same listing of a commit, on the tracker's endpoint; that of refs is of no commit."""
        about = self.target
        base = f"/api/{about.repo_type}s/{quote(about.repo_id)}"
        words = {"info": "revision", "refs": "refs"}
        base += f"/{words.get(about.route, about.route)}"
        base += "" if about.route == "refs" else f"/{commit}"
        base += f"/{quote(about.path, safe='')}" if about.path else ""
        _, mark, query = self.raw.partition("?")
        return base + mark + query

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.raw.partition("?")[2], keep_blank_values=True)

    def _expand_of_body(self) -> list[str]:
        body = self.body()
        if self.content_type.startswith("application/json"):
            try:
                document = json.loads(body)
            except ValueError:
                return ["true"]  # which is for the Hub to judge
            return [str(document.get("expand", "false")) if isinstance(document, dict) else "true"]
        return parse_qs(body.decode("utf-8", "replace")).get("expand", [])
