"""Does the Hub show this repo without a token? Asked without any token, once per repo, and the answer is remembered.

What the Hub shows without a token may be given to every machine of the LAN. Only the standard library is needed to ask.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from llmpt.core.breaker import Pauses
from llmpt.core.errors import LlmptError
from llmpt.core.repo import RepoRef

ASK_TIMEOUT_S = 5.0
ASK_AGAIN_S = 24 * 3600.0  # an answer may change: a model that was gated at first, a repo that was made public or private
HUB_PAUSES = Pauses(first_s=30.0, longest_s=600.0)  # of a Hub that cannot be reached, for all questions together
MAX_ANSWER_BYTES = 16 << 20


class HubUnreachable(LlmptError):
    """The Hub gave no answer from which anything follows."""


def ask_hub(endpoint: str, repo: RepoRef) -> tuple[bool, str]:
    """Ask the Hub at `endpoint`, without a token, whether it shows `repo`; return (public, reason).

    Route: `GET /api/{type}s/{id}`. A gated repo is shown without a token, its files are not: not public. This is Internet
    traffic, so that the proxies of the environment count. Raises `HubUnreachable`.
    """
    url = f"{endpoint}/api/{repo.type}s/{repo.id}"
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "llmpt"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as response:  # noqa: S310
            return _read_answer(response.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (401, 403, 404):
                return False, f"not public on the Hub (it answered {error.code} to an anonymous caller)"
            raise HubUnreachable(f"{url} answered {error.code}") from None
    except (OSError, ValueError) as error:  # URLError, time-outs, a broken answer
        raise HubUnreachable(f"{url}: {error}") from None


def _read_answer(body: bytes) -> tuple[bool, str]:
    document = json.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("id"), str):
        raise ValueError("not the Hub's answer (a proxy's page?)")
    for fact, words in (("private", "private"), ("gated", "gated"), ("disabled", "disabled")):
        if document.get(fact):
            return False, f"{words} on the Hub"
    return True, "public on the Hub"
