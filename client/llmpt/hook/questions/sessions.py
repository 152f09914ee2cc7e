"""The door in huggingface_hub's own HTTP sessions: requests' before 1.0, those of httpx and httpx2 from then on.

The library makes them in one place (`utils._http`) of whatever a user's factory gives, so each is met there, and asked through
where it chooses the transport for a URL. Below that point all is the library's own: redirects, hooks, cookies, retries, streams,
and that it asks nothing while it is offline. No class is changed, so no other session of the program is. Async clients are left
alone.

    sessions = Sessions(huggingface_hub.utils._http, wrap)
    sessions.put()
    sessions.take_back()
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from llmpt.hook.steps import guarded

CACHE = "_get_session_from_cache"  # before 1.0: a session for each thread
LOCK, CLIENT = "_CLIENT_LOCK", "_GLOBAL_CLIENT"  # from 1.0 on: one client for all, made under the lock
OF_REQUESTS, OF_HTTPX = "get_adapter", "_transport_for_url"  # where a session chooses what sends a request

Wrap = Callable[[Any, str], Any]


def module_of(package: str | None) -> ModuleType | None:
    """Return the loaded module in which the library makes its sessions; None where this version has none."""
    return sys.modules.get(f"{package}.utils._http")


def unfit(http: ModuleType | None) -> str | None:
    """Say why the sessions of this version cannot be met; None when they can."""
    if http is None:
        return "it has no utils._http"
    called = getattr(getattr(getattr(http, "get_session", None), "__code__", None), "co_names", ())
    if CACHE in called and callable(getattr(http, CACHE, None)):
        return None
    if LOCK in called and CLIENT in called and hasattr(getattr(http, LOCK, None), "__exit__"):
        return None
    return f"its sessions are made in another way than {CACHE} or {LOCK}"


class Sessions:
    """Meets every session that the library makes.

    `wrap` is given the transport that a session has chosen, and the URL, and returns what sends the request.
    """

    def __init__(self, http: ModuleType, wrap: Wrap) -> None:
        self._http, self._wrap = http, wrap
        self._name = CACHE if hasattr(http, CACHE) else LOCK
        self._original = getattr(http, self._name)
        self._ours: Any = _Cache(self._original, self.meet) if self._name == CACHE else _Lock(self._original, self._meet_client)
        self._met: weakref.WeakSet[Any] = weakref.WeakSet()
        self._active = False

    def put(self) -> None:
        self._active = True
        setattr(self._http, self._name, self._ours)
        self._meet_client()

    def take_back(self) -> None:
        """Give the library its own objects back, the same ones."""
        self._active = False
        if getattr(self._http, self._name) is self._ours:
            setattr(self._http, self._name, self._original)
        for session in list(self._met):
            for name in (OF_REQUESTS, OF_HTTPX):
                if isinstance(vars(session).get(name), _Chooser):
                    delattr(session, name)
        self._met.clear()

    def meet(self, session: Any) -> None:
        """Have a session asked through us, once."""
        name = next((name for name in (OF_REQUESTS, OF_HTTPX) if callable(getattr(session, name, None))), None)
        if not self._active or name is None or session in self._met or name in vars(session):
            return
        setattr(session, name, _Chooser(weakref.ref(session), name, self._wrap))
        self._met.add(session)

    def _meet_client(self) -> None:
        client = getattr(self._http, CLIENT, None)
        if client is not None:
            self.meet(client)


class _Cache:
    """The library's cache of sessions, each of which is met."""

    def __init__(self, original: Any, meet: Callable[[Any], None]) -> None:
        self._original, self._meet = original, meet

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        session = self._original(*args, **kwargs)
        guarded(self._meet, session)
        return session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Lock:
    """The lock under which the library makes its client, which is met before it is let go of."""

    def __init__(self, original: Any, meet: Callable[[], None]) -> None:
        self._original, self._meet = original, meet

    def __enter__(self) -> Any:
        return self._original.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> Any:
        try:
            guarded(self._meet)
        finally:
            self._original.__exit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Chooser:
    """What chooses the transport of one session, in place of its class's own method."""

    def __init__(self, session: weakref.ref[Any], name: str, wrap: Wrap) -> None:
        self._session, self._name, self._wrap = session, name, wrap

    def __call__(self, url: Any) -> Any:
        session = self._session()
        if session is None:
            raise ReferenceError("the session is gone")
        transport = getattr(type(session), self._name)(session, url)
        return self._wrap(transport, str(url))
