"""The door in the library's sessions: put and taken back, whatever makes the sessions, and nothing else is touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import pytest

from llmpt.hook.questions.sessions import Sessions, unfit

OLD = """
from functools import lru_cache
def get_session():
    return _get_session_from_cache(process_id=1, thread_id=2)
def reset_sessions():
    _get_session_from_cache.cache_clear()
@lru_cache
def _get_session_from_cache(process_id, thread_id):
    return FACTORY()
"""
NEW = """
_GLOBAL_CLIENT = None
def get_session():
    global _GLOBAL_CLIENT
    if _GLOBAL_CLIENT is None:
        with _CLIENT_LOCK:
            _GLOBAL_CLIENT = FACTORY()
    return _GLOBAL_CLIENT
def reset_sessions():
    global _GLOBAL_CLIENT
    _GLOBAL_CLIENT = None
"""


class OldSession:
    def get_adapter(self, url: str) -> str:
        return f"adapter of {url}"

    def ask(self, url: str) -> str:
        return self.get_adapter(url=url)


class NewSession:
    def _transport_for_url(self, url: str) -> str:
        return f"transport of {url}"

    def ask(self, url: str) -> str:
        return self._transport_for_url(url)


def module(source: str, factory: Callable[[], Any]) -> ModuleType:
    made = ModuleType("http_of_the_library")
    vars(made).update(FACTORY=factory, _CLIENT_LOCK=threading.Lock())
    exec(source, vars(made))
    if source is OLD:
        del made._CLIENT_LOCK
    return made


def wrap(transport: Any, url: str) -> str:
    return f"ours before {transport}"


@pytest.mark.parametrize(("source", "factory"), [(OLD, OldSession), (NEW, NewSession)], ids=["before 1.0", "from 1.0 on"])
def test_every_session_is_met_and_given_back(source: str, factory: Callable[[], Any]) -> None:
    http = module(source, factory)
    before, earlier = dict(vars(http)), http.get_session()
    assert unfit(http) is None
    sessions = Sessions(http, wrap)
    sessions.put()
    assert http.get_session() is earlier
    assert earlier.ask("u").startswith("ours before ")
    http.reset_sessions()
    later = http.get_session()
    assert later is not earlier
    assert later.ask("u").startswith("ours before ")
    assert not factory().ask("u").startswith("ours")  # a session of the program's own
    sessions.take_back()
    assert {name: one for name, one in vars(http).items() if name != "_GLOBAL_CLIENT"} == {
        name: one for name, one in before.items() if name != "_GLOBAL_CLIENT"
    }
    assert vars(earlier) == vars(later) == {}
    assert not later.ask("u").startswith("ours")


def test_a_session_that_has_a_chooser_of_its_own_is_left_alone() -> None:
    def factory() -> OldSession:
        session = OldSession()
        session.get_adapter = lambda url: "its own"  # type: ignore[method-assign]
        return session

    http = module(OLD, factory)
    sessions = Sessions(http, wrap)
    sessions.put()
    assert http.get_session().ask("u") == "its own"
    sessions.take_back()
    assert http.get_session().ask("u") == "its own"


def test_a_wrapper_that_was_kept_meets_no_session_after_it_was_taken_back() -> None:
    http = module(OLD, OldSession)
    sessions = Sessions(http, wrap)
    sessions.put()
    kept = http._get_session_from_cache
    sessions.take_back()
    assert kept(process_id=3, thread_id=4).ask("u") == "adapter of u"


def test_another_librarys_wrapper_is_not_taken_away() -> None:
    http = module(OLD, OldSession)
    sessions = Sessions(http, wrap)
    sessions.put()
    theirs = lru_cache(lambda process_id, thread_id: OldSession())
    http.__dict__["_get_session_from_cache"] = theirs
    sessions.take_back()
    assert http._get_session_from_cache is theirs


def test_an_unknown_version_is_left_alone() -> None:
    assert unfit(module("def get_session(): return FACTORY()", OldSession)) is not None
    assert unfit(ModuleType("empty")) is not None
