"""Does the Hub show this repo without a token? Asked without any token, once per repo, and the answer is remembered.

What the Hub shows without a token may be given to every machine of the LAN. Only the standard library is needed to ask.
"""

from __future__ import annotations

from llmpt.core.breaker import Pauses
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubNo, HubUnreachable, ask

ASK_AGAIN_S = 24 * 3600.0  # an answer may change: a model that was gated at first, a repo that was made public or private
HUB_PAUSES = Pauses(first_s=30.0, longest_s=600.0)  # of a Hub that cannot be reached, for all questions together


def ask_hub(endpoint: str, repo: RepoRef) -> tuple[bool, str]:
    """Ask the Hub at `endpoint`, without a token, whether it shows `repo`; return (public, reason).

    Route: `GET /api/{type}s/{id}`. A gated repo is shown without a token, its files are not: not public. Raises
    `HubUnreachable`.
    """
    url = f"{endpoint}/api/{repo.type}s/{repo.id}"
    try:
        document = ask(url).document
    except HubNo as no:
        if no.status in (401, 403, 404):
            return False, f"not public on the Hub (it answered {no.status} to an anonymous caller)"
        raise HubUnreachable(f"{url} answered {no.status}") from None
    if not isinstance(document, dict) or not isinstance(document.get("id"), str):
        raise HubUnreachable(f"{url}: not the Hub's answer (a proxy's page?)")
    for fact, words in (("private", "private"), ("gated", "gated"), ("disabled", "disabled")):
        if document.get(fact):
            return False, f"{words} on the Hub"
    return True, "public on the Hub"
