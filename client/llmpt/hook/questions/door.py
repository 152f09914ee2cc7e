"""From the sessions of huggingface_hub to the router: which requests are questions to its Hub."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from llmpt.hook.steps import guarded

TYPE_CHECKING = False
if TYPE_CHECKING:  # at the first question, not at an import of huggingface_hub
    from llmpt.hook.questions.question import Question
    from llmpt.hook.questions.router import Router
    from llmpt.tracker.endpoint import EndpointReply

HUB_S = 10.0  # what the library waits for a question about a file, unless it was told otherwise


class HubDoor:
    """What `Sessions` wraps each transport with.

    `constants` are the library's; `router` returns who answers for a Hub (None: that Hub alone); `note` is told of each answer
    of the LAN's, and whether the Hub was asked before, and of None where the Hub is asked. `offline` is what the library raises
    where it may not ask: it tries nothing again then, and uses what is in its cache.
    """

    def __init__(
        self,
        constants: ModuleType,
        router: Callable[[str], Router | None],
        note: Callable[[Question, EndpointReply | None, bool], None],
        offline: Callable[[str], Exception],
    ) -> None:
        self._constants, self._router, self._note, self._offline = constants, router, note, offline

    def wrap(self, transport: Any, url: str) -> Any:
        """Return what sends a request to `url`: `transport` itself, unless it is a question to the Hub."""
        wrapped = guarded(self._wrapped, transport, url)
        return transport if wrapped is None else wrapped

    def _wrapped(self, transport: Any, url: str) -> Any:
        hub = str(getattr(self._constants, "ENDPOINT", "")).rstrip("/")
        if not hub or not url.startswith(f"{hub}/") or self._is_offline():
            return None
        router = self._router(hub)
        if router is None:
            return None
        from llmpt.hook.questions.transports import ThroughHttpx, ThroughRequests

        kind = ThroughHttpx if hasattr(transport, "handle_request") else ThroughRequests
        longest_s = float(getattr(self._constants, "HF_HUB_ETAG_TIMEOUT", HUB_S))
        return kind(transport, url[len(hub) :], functools.partial(self._exchanged, router), longest_s)

    def _is_offline(self) -> bool:
        asked = getattr(self._constants, "is_offline_mode", None)
        return bool(asked() if callable(asked) else getattr(self._constants, "HF_HUB_OFFLINE", False))

    def _exchanged(self, router: Router, question: Question, hub: Any) -> Any:
        from llmpt.hook.questions.exchange import NoAnswer, exchange

        try:
            return exchange(router, question, hub, functools.partial(self._note, question))
        except NoAnswer as error:
            raise self._offline(f"llmpt: {error}") from None
