"""Which requests of a browser are refused: a web page that a visitor of the LAN looks at is no machine of the LAN.

A page on the Internet can have the visitor's browser ask us, in two ways. Its own name is made to lead to our address (DNS
rebinding): the browser then believes that we are the page's own server, and lets it read all answers. So we answer under names
alone that a stranger cannot own. Or it asks us as the foreign server that we are, and cannot read the answer, but what the
question does is done. So what has an effect is refused to pages that are not ours. What a page cannot change is the browser's
User-Agent, Host and Origin; a Referer it can leave out, and Sec-Fetch-… comes to https and localhost only.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from llmpt.core.networks import parse_address

SETTING = "LLMPT_HOSTS"

# Names below these have no owner on the Internet: no registry ever gives them away (RFC 6761, 6762, 8375; ICANN).
NEVER_PUBLIC = (
    *("local", "localhost", "localdomain", "lan", "internal", "intranet", "private"),
    *("home", "corp", "home.arpa", "test"),
)

# For every answer that a browser may show, whatever the port.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_HOST = re.compile(r"(\[[0-9a-z:.%_-]{2,60}\]|[a-z0-9_]([a-z0-9._-]{0,252}))(?::([0-9]{1,5}))?")
_PATTERN = re.compile(r"[a-z0-9_*]([a-z0-9._*-]{0,252})")
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)(?:/\S*)?")
_PORTS = {"http": "80", "https": "443"}
_BROWSER = re.compile(r"mozilla/|opera/")
_NO_BROWSER = re.compile(r"powershell/")  # it says Mozilla, too, and shows no pages


class Caller(NamedTuple):
    """What a request says of itself: headers as they came, empty where there is none.

    host: Host, or what a trusted proxy says that it was
    origin: Origin
    referer: Referer
    fetch_site: Sec-Fetch-Site (node sends Sec-Fetch-Mode, and is no browser)
    user_agent: User-Agent
    """

    host: str = ""
    origin: str = ""
    referer: str = ""
    fetch_site: str = ""
    user_agent: str = ""

    @property
    def is_browser(self) -> bool:
        """Say whether it comes from a browser. No page can make a browser say otherwise to a foreign server."""
        agent = self.user_agent.strip().lower()
        is_one = bool(_BROWSER.match(agent)) and not _NO_BROWSER.search(agent)
        return is_one or bool(self.origin or self.fetch_site)

    @property
    def is_own_page(self) -> bool:
        """Say whether it is shown that one of our own pages asks, or a person by typing the address."""
        if self.fetch_site:
            return self.fetch_site.strip().lower() in ("same-origin", "none")
        said = self.origin or self.referer
        return bool(said) and _is_same(said, self.host)

    @property
    def as_program(self) -> Caller:
        """The same without what says that a page asks."""
        return self._replace(origin="", referer="", fetch_site="")


class Refusal(NamedTuple):
    """Why a request gets no answer: the status, and a sentence for a person."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class HostNames:
    """The names under which we answer, beside those that no stranger can own. `host in names` takes a Host header.

    named: names and patterns (`*` stands for anything), in lower case
    """

    named: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> HostNames:
        """Read names and patterns separated by commas or blanks. Raises `ValueError` saying what would be right."""
        found = [name.lower().rstrip(".") for name in text.replace(",", " ").split()]
        for name in found:
            if not _PATTERN.fullmatch(name):
                raise ValueError(
                    f"{name!r:.100} is no host name; write names as hub.example.com or *.example.com, without a port"
                )
        return cls(tuple(dict.fromkeys(found)))

    def also(self, names: Collection[str]) -> HostNames:
        """Return these and other names; what cannot be one is left out."""
        usable = (name.lower().rstrip(".") for name in names)
        return HostNames((*self.named, *(name for name in usable if _PATTERN.fullmatch(name))))

    def __contains__(self, host: str) -> bool:
        match = _HOST.fullmatch(host.strip().lower())
        if match is None:
            return False
        name = match[1].rstrip(".")
        if "." not in name and not name.startswith("["):
            return bool(name)
        return _is_literal(name) or _is_below(name, NEVER_PUBLIC) or any(fnmatchcase(name, one) for one in self.named)


@dataclass(frozen=True, slots=True)
class Origins:
    """The web pages of other origins that may read what the Hub's API gives (CORS). `origin in origins` takes an Origin header.

    named: origins, as browsers write them: https://page.lan, http://10.0.0.7:3000
    """

    named: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Origins:
        """Read origins separated by commas or blanks. Raises `ValueError` saying what would be right."""
        found = [one.lower().rstrip("/") for one in text.replace(",", " ").split()]
        for one in found:
            match = _ORIGIN.fullmatch(one)
            if match is None or not _HOST.fullmatch(match[2]) or one != f"{match[1]}://{match[2]}":
                raise ValueError(f"{one!r:.100} is no origin; write https://page.example.com or http://10.0.0.7:3000")
        return cls(tuple(dict.fromkeys(found)))

    def __contains__(self, origin: str) -> bool:
        return origin.strip().lower() in self.named

    def admit_sent(self, origin: str) -> bool:
        """Say whether a page may read that one of our servers sent to another one: as its origin a browser says `null` then."""
        return bool(self.named) and (origin == "null" or origin in self)


def refusal(caller: Caller, names: HostNames, *, is_link: bool = False) -> Refusal | None:
    """Say why a request is refused, or None. `is_link`: it asks for a page without any effect, which others may link to."""
    if caller.host.strip() or caller.is_browser:
        if caller.host not in names:
            return Refusal(
                421,
                f"this server does not answer as {caller.host!r:.100}: when it is a name of this server, add it to {SETTING}",
            )
    elif not caller.host:
        return None  # HTTP/1.0
    if caller.is_own_page:
        return None
    if caller.origin or (not is_link and (caller.referer or caller.fetch_site)):
        return Refusal(403, "another web page asks, in the name of a browser's user: only this server's own pages may")
    return None


def effect_refusal(caller: Caller) -> Refusal | None:
    """Say why a request that costs or changes something is refused, or None. Ask `refusal` first."""
    if not caller.is_browser or caller.is_own_page:
        return None
    return Refusal(
        403,
        "a browser asks, and it is not shown that a page of this server made it: any page that its user looks at could. "
        "Use llmpt, huggingface_hub or curl",
    )


def _is_literal(name: str) -> bool:
    try:
        parse_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_below(name: str, domains: Collection[str]) -> bool:
    return any(name == one or name.endswith(f".{one}") for one in domains)


def _is_same(origin: str, host: str) -> bool:
    """Say whether an Origin or Referer is the host that was asked; a default port may be written or not."""
    match = _ORIGIN.fullmatch(origin.strip().lower())
    return match is not None and _with_port(match[2], match[1]) == _with_port(host.strip().lower(), match[1])


def _with_port(host: str, scheme: str) -> str:
    match = _HOST.fullmatch(host)
    return f"{match[1].rstrip('.')}:{match[3] or _PORTS[scheme]}" if match else host
