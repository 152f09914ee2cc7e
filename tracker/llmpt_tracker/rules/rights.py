"""What a token may do, for which repos and until when.

    publish   say what repos hold and where their refs point, serve their files, ask for mirrors; read them
    mirror    ask for mirrors
    read      read what the repos that it names hold, where reading takes a token; see what is fetched from upstream
    admin     what an operator does over the API; read all that it names; for all repos: make and revoke tokens in a browser
    share     publish single blobs, and take part in fetching each file once: every machine of the LAN gets one for itself

A token without patterns is for all repos: so are those that were made before there were patterns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from llmpt.core.errors import InvalidName
from llmpt.core.patterns import ALL_REPOS, RepoPatterns
from llmpt.core.repo import RepoRef
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.errors import Refused

PUBLISH = "publish"
MIRROR = "mirror"
READ = "read"
ADMIN = "admin"
SHARE = "share"
PREFIXES = {  # the mightiest first: a token of several scopes has the prefix of the first
    ADMIN: "llmpt_admin_",
    PUBLISH: "llmpt_pub_",
    MIRROR: "llmpt_mirror_",
    SHARE: "llmpt_share_",
    READ: "llmpt_read_",
}
IMPLIED = {PUBLISH: (MIRROR, READ), ADMIN: (MIRROR, READ)}


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token is made for.

    scopes: what it may do
    repos: which repos it names; None: all
    expires_at: until when; None: for ever
    """

    scopes: tuple[str, ...] = (PUBLISH,)
    repos: RepoPatterns | None = None
    expires_at: datetime | None = None

    @classmethod
    def read(cls, scopes: str, repos: str | None = None, *, expires_at: datetime | None = None) -> Rights:
        """Read scopes and patterns, each separated by commas. Raises `Refused` (422) for what there is not."""
        wanted = {name.strip() for name in scopes.split(",")}
        if unknown := wanted - set(PREFIXES):
            raise Refused(422, "bad_scope", f"no scope of a token: {min(unknown)!r:.40}; there are {', '.join(PREFIXES)}")
        try:
            patterns = None if repos is None else RepoPatterns.parse(repos)
        except InvalidName as error:
            raise Refused(422, "bad_name", str(error)) from None
        return cls(tuple(name for name in PREFIXES if name in wanted), patterns, expires_at)


def scopes_of(token: PublisherToken) -> frozenset[str]:
    """Return all that a token may do, with what its scopes imply."""
    said = token.scope.split(",")
    return frozenset((*said, *(implied for name in said for implied in IMPLIED.get(name, ()))))


def may(token: PublisherToken, *scopes: str) -> bool:
    """Say whether a token may do something of `scopes`."""
    return not scopes_of(token).isdisjoint(scopes)


def is_publisher(token: PublisherToken) -> bool:
    """Say whether a token's word is a publisher's; else it is that of a machine that shares."""
    return may(token, PUBLISH)


def rank(token: PublisherToken | None) -> int:
    """Return how much a token's word counts against another's: the seeder's beside this tracker most, then that of publishers of
    all repos, of publishers of some, and of machines that share."""
    if token is None or not is_publisher(token):
        return 0
    return 3 if token.appliance else 2 if token.repos is None else 1


def grants(token: PublisherToken) -> RepoPatterns:
    """Return the repos that a token names."""
    return ALL_REPOS if token.repos is None else RepoPatterns.of(tuple(token.repos.split(",")))


def check_names(token: PublisherToken, repo: RepoRef) -> None:
    """Raise `Refused` (403) when a token does not name a repo that it is used for."""
    if not grants(token).allows(repo):
        raise Refused(
            403,
            "repo_not_granted",
            f"the token {token.name!r} is for the repos {token.repos}, not for {repo}: "
            "an operator makes one for it by `llmpt-tracker token create --repos …`",
        )
