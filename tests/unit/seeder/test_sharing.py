"""What may be shared: the operator's patterns, the Hub's answer to a stranger, and silence."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.visibility import ASK_AGAIN_S, ask_hub
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.state import SeederState

MODEL = RepoRef("model", "org/name")
DATASET = RepoRef("dataset", "org/name")


class Hub:
    def __init__(self) -> None:
        self.answer: tuple[bool, str] | None = (True, "public on the Hub")
        self.asked: list[RepoRef] = []
        self.now = 1_000_000.0

    def ask(self, repo: RepoRef) -> tuple[bool, str]:
        self.asked.append(repo)
        if self.answer is None:
            raise HubUnreachable("no route")
        return self.answer


def sharing(state: SeederState, hub: Hub, *patterns: str) -> Sharing:
    return Sharing(patterns, memory=state, ask=hub.ask, clock=lambda: hub.now)


@pytest.mark.parametrize(
    ("patterns", "repo", "shared"),
    [
        (("org/name",), MODEL, True),
        (("org/*",), MODEL, True),
        (("models/org/name",), MODEL, True),
        (("*",), DATASET, True),
        (("datasets/org/name",), DATASET, True),
        (("*", "!org/name"), MODEL, False),
        (("!org/name", "org/name"), MODEL, False),
        (("*", "!ORG/*"), MODEL, False),
        (("*", "!org/name"), DATASET, False),
        (("*", "!datasets/*"), DATASET, False),
        (("*", "!datasets/*"), MODEL, True),
    ],
)
def test_patterns_decide_without_asking(state: SeederState, patterns: tuple[str, ...], repo: RepoRef, shared: bool) -> None:
    hub = Hub()
    assert sharing(state, hub, *patterns).verdict(repo).shared is shared
    assert hub.asked == []


@pytest.mark.parametrize("pattern", ["org/name", "org/other", "name", "ORG/NAME"])
def test_naming_a_model_does_not_name_a_dataset_or_anything_else(state: SeederState, pattern: str) -> None:
    hub = Hub()
    hub.answer = (False, "private")
    assert not sharing(state, hub, pattern).verdict(DATASET).shared


def test_the_hub_is_asked_once_per_repo_also_over_a_restart(state: SeederState) -> None:
    hub = Hub()
    assert sharing(state, hub).verdict(MODEL).shared
    hub.now += ASK_AGAIN_S - 1
    assert sharing(state, hub).verdict(MODEL).shared
    assert hub.asked == [MODEL]


def test_a_no_is_asked_again_after_a_day(state: SeederState) -> None:
    hub = Hub()
    hub.answer = (False, "gated on the Hub")
    judge = sharing(state, hub)
    verdict = judge.verdict(MODEL)
    assert (verdict.shared, verdict.reason) == (False, "gated on the Hub")
    hub.answer = (True, "public on the Hub")
    assert not judge.verdict(MODEL).shared
    hub.now += ASK_AGAIN_S + 1
    assert judge.verdict(MODEL).shared


def test_what_was_public_is_asked_for_again_after_a_day_and_shared_no_longer(state: SeederState) -> None:
    hub = Hub()
    rule = sharing(state, hub)
    assert rule.verdict(MODEL).shared
    hub.now += ASK_AGAIN_S + 1
    hub.answer = None
    assert rule.verdict(MODEL).shared, "a silent Hub says nothing against it"
    hub.now += 10_000
    hub.answer = (False, "gated on the Hub")
    assert not rule.verdict(MODEL).shared
    assert not sharing(state, hub).verdict(MODEL).shared


def test_that_many_repos_are_due_at_once_costs_a_look_one_question(state: SeederState) -> None:
    hub = Hub()
    rule = sharing(state, hub)
    repos = [RepoRef("model", f"org/name{number}") for number in range(20)]
    assert all(rule.verdict(repo).shared for repo in repos)
    hub.now += ASK_AGAIN_S + 1
    hub.asked.clear()
    assert all(rule.verdict(repo).shared for repo in repos)
    assert len(hub.asked) == 1


def test_a_no_of_the_future_is_old_after_the_clock_was_set_back(state: SeederState) -> None:
    hub = Hub()
    hub.answer = (False, "gated on the Hub")
    judge = sharing(state, hub)
    assert not judge.verdict(MODEL).shared
    hub.answer, hub.now = (True, "public on the Hub"), hub.now - 3600
    assert judge.verdict(MODEL).shared


def test_without_the_hub_nothing_unnamed_is_shared_and_the_reason_says_how_to(state: SeederState) -> None:
    hub = Hub()
    hub.answer = None
    verdict = sharing(state, hub).verdict(DATASET)
    assert not verdict.shared
    assert "name datasets/org/name in LLMPT_REPOS" in verdict.reason


def test_a_silent_hub_is_left_alone_for_a_while_for_all_repos(state: SeederState) -> None:
    hub = Hub()
    hub.answer = None
    judge = sharing(state, hub)
    judge.verdict(MODEL)
    judge.verdict(DATASET)
    assert len(hub.asked) == 1
    hub.now += 31
    judge.verdict(MODEL)
    hub.now += 31
    judge.verdict(MODEL)
    assert len(hub.asked) == 2
    hub.now += 31
    hub.answer = (True, "public on the Hub")
    assert judge.verdict(MODEL).shared


def test_a_remembered_no_stands_while_the_hub_is_silent(state: SeederState) -> None:
    hub = Hub()
    hub.answer = (False, "private on the Hub")
    judge = sharing(state, hub)
    judge.verdict(MODEL)
    hub.answer, hub.now = None, hub.now + ASK_AGAIN_S + 1
    assert judge.verdict(MODEL).reason == "private on the Hub"


class Answering(http.server.BaseHTTPRequestHandler):
    status = 200
    body: object = None
    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        data = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that is overridden
        pass


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[Answering], str]]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    handler = type("Handler", (Answering,), {"seen": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield handler, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("facts", "public"),
    [
        ({}, True),
        ({"private": False, "gated": False, "disabled": False}, True),
        ({"gated": "auto"}, False),
        ({"gated": "manual"}, False),
        ({"private": True}, False),
        ({"disabled": True}, False),
    ],
)
def test_public_is_what_anyone_may_read(answering: tuple[type[Answering], str], facts: dict[str, object], public: bool) -> None:
    handler, url = answering
    handler.body = {"id": "org/name", **facts}
    assert ask_hub(url, DATASET)[0] is public
    ((path, headers),) = handler.seen
    assert path == "/api/datasets/org/name"
    assert "authorization" not in headers


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_hub_hides_is_not_public(answering: tuple[type[Answering], str], status: int) -> None:
    handler, url = answering
    handler.status, handler.body = status, {"error": "no"}
    assert ask_hub(url, MODEL)[0] is False


@pytest.mark.parametrize(
    ("status", "body"), [(500, {}), (429, {}), (503, {}), (200, b"<html>log in to the hotel</html>"), (200, []), (200, {"a": 1})]
)
def test_an_answer_that_says_nothing_is_no_answer(answering: tuple[type[Answering], str], status: int, body: object) -> None:
    handler, url = answering
    handler.status, handler.body = status, body
    with pytest.raises(HubUnreachable):
        ask_hub(url, MODEL)


def test_a_hub_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(HubUnreachable):
        ask_hub("http://127.0.0.1:9", MODEL)
