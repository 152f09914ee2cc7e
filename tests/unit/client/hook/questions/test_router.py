"""Who answers: the LAN where that is exact, the Hub once for a ref, the LAN's last known answer where the Hub fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerUnavailable
from llmpt.hook.call import Call, Proof, current
from llmpt.hook.questions.exchange import NoAnswer, exchange
from llmpt.hook.questions.heard import Heard
from llmpt.hook.questions.question import Question
from llmpt.hook.questions.router import Router
from llmpt.tracker.catalogue import Manifest
from llmpt.tracker.endpoint import EndpointReply
from tests.unit.client.hook.questions.lan import FIRST, SECOND, Clock, MemoryLan, manifest

SILENT = "no connection"


class HubError(Exception):
    pass


@dataclass
class MemoryHub:
    """The Hub's side: `commit` is where every ref points; `status` 0 is a connection that fails."""

    commit: str = FIRST
    status: int = 200
    retry_after_s: float | None = None
    asked: int = 0
    dropped: int = 0
    bounded: bool = False
    told: list[tuple[EndpointReply | None, bool]] = field(default_factory=list)

    def ask(self, *, bounded: bool) -> str:
        self.asked += 1
        self.bounded = bounded
        if not self.status:
            raise HubError
        return "the Hub's"

    def heard(self, answer: str) -> Heard:
        return Heard(self.status, self.commit, self.retry_after_s)

    def failure(self, error: Exception) -> str | None:
        return SILENT if isinstance(error, HubError) else None

    def drop(self, answer: str) -> None:
        self.dropped += 1


@dataclass
class Program:
    """What asks: through a router, of the LAN and the Hub. `ask` returns a status, or 0 for the Hub's own answer."""

    lan: MemoryLan
    hub: MemoryHub
    changed: dict[str, object] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.router = Router(self.lan.sources(**self.changed), say=self.said.append, clock=self.clock)

    def ask(self, raw: str, method: str = "GET") -> int:
        question = Question.of(method, raw, lambda _: None, lambda: b"")
        assert question is not None
        answer = exchange(self.router, question, self.hub, lambda reply, asked: self.hub.told.append((reply, asked)))
        return answer.status if isinstance(answer, EndpointReply) else 0


def file(revision: str, path: str = "config.json") -> str:
    return f"/org/name/resolve/{revision}/{path}"


@pytest.fixture(autouse=True)
def _no_download() -> Iterator[None]:
    token = current.set(None)
    yield
    current.reset(token)


@pytest.fixture
def program() -> Program:
    return Program(MemoryLan({FIRST: manifest(), "main": manifest()}), MemoryHub())


def test_a_commit_is_never_asked_of_the_hub(program: Program) -> None:
    assert program.ask(file(FIRST), "HEAD") == 200
    assert program.ask(file(FIRST)) == 200
    assert program.ask(file(FIRST, "model.bin"), "HEAD") == 200
    assert program.ask(file(FIRST, "no.such")) == 404
    assert program.ask(f"/api/models/org/name/tree/{FIRST}?recursive=true") == 200
    assert program.hub.asked == 0


def test_a_large_file_has_other_ways(program: Program) -> None:
    assert program.ask(file(FIRST, "model.bin")) == 0


@pytest.mark.parametrize("known", [manifest(open=False), manifest(complete=False)])
def test_what_the_lan_may_not_answer_goes_to_the_hub_and_its_failure_stands(known: object) -> None:
    program = Program(MemoryLan({FIRST: known, "main": known}), MemoryHub())  # type: ignore[dict-item]
    for raw in (file(FIRST), file("main"), "/api/models/org/name/revision/main"):
        assert program.ask(raw) == 0
    program.hub.status = 504
    assert program.ask(file("main")) == 0
    program.hub.status = 0
    with pytest.raises(HubError):
        program.ask(file(FIRST))
    assert program.said == []


def test_a_ref_is_asked_of_the_hub_once_and_again_after_some_seconds(program: Program) -> None:
    assert program.ask("/api/models/org/name/revision/main") == 0
    for _ in range(5):
        assert program.ask(file("main"), "HEAD") == 200
    assert program.hub.asked == 1
    program.clock.now += 10
    assert program.ask(file("main"), "HEAD") == 0
    assert program.hub.asked == 2


def test_a_ref_that_the_server_has_confirmed_is_not_asked_at_all() -> None:
    program = Program(MemoryLan({FIRST: manifest(), "main": manifest(fresh=True)}), MemoryHub())
    assert program.ask("/api/models/org/name/revision/main") == 200
    assert program.ask(file("main"), "HEAD") == 200
    assert program.hub.asked == 0


def test_a_ref_that_has_moved_on_is_followed(program: Program) -> None:
    program.hub.commit = SECOND  # which the LAN does not have
    assert program.ask(file("main"), "HEAD") == 0
    assert program.ask(file("main"), "HEAD") == 0
    program.lan.known[SECOND] = manifest(SECOND)
    program.clock.now += 10
    assert program.ask(file("main"), "HEAD") == 0
    assert program.ask(file("main"), "HEAD") == 200


def test_many_threads_ask_the_hub_about_a_ref_once(program: Program) -> None:
    together = threading.Barrier(8)

    def ask(_: int) -> int:
        together.wait()
        return program.ask(file("main"), "HEAD")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == [0] + [200] * 7
    assert program.hub.asked == 1


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503, 504])
def test_a_hub_that_fails_is_bridged_said_once_and_then_left_alone(program: Program, status: int) -> None:
    program.hub.status = status
    assert program.ask("/api/models/org/name/revision/main") == 200
    assert program.ask(file("main"), "HEAD") == 200
    assert program.ask("/api/models/org/name/refs") == 200
    assert program.hub.asked == 1
    assert program.hub.dropped == (status != 0)
    assert program.said == [f"llmpt: the Hub does not answer ({status or SILENT}); org/name as of 3 h ago, from the LAN"]
    program.clock.now += 300
    program.hub.status = 200
    assert program.ask("/api/models/org/name/revision/main") == 0
    assert program.hub.asked == 2


@pytest.mark.parametrize(
    ("known", "changed", "bounded"),
    [(manifest(), {}, True), (manifest(open=False), {}, False), (manifest(), {"bridges": False}, False)],
    ids=["known", "closed", "setting"],
)
def test_the_hub_is_waited_for_without_end_only_where_the_lan_cannot_stand_in(
    known: Manifest, changed: dict[str, object], bounded: bool
) -> None:
    program = Program(MemoryLan({FIRST: known, "main": known}), MemoryHub(), changed)
    for raw in (
        "/api/models/org/name/revision/main",
        "/api/models/org/name/refs",
        f"/api/models/org/name/tree/{FIRST}?expand=true",
    ):
        program.ask(raw)
        assert program.hub.bounded is bounded, raw
    program.ask("/api/models?search=name")
    assert not program.hub.bounded


def test_the_hubs_wish_to_be_left_alone_is_heeded(program: Program) -> None:
    program.hub.status, program.hub.retry_after_s = 429, 1000.0
    assert program.ask(file("main"), "HEAD") == 200
    program.clock.now += 900
    assert program.ask(file("main"), "HEAD") == 200
    assert program.hub.asked == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_no_of_the_hub_stands(program: Program, status: int) -> None:
    program.hub.status = status
    program.hub.commit = None  # type: ignore[assignment]
    assert program.ask(file("main"), "HEAD") == 0
    assert program.ask(file("main"), "HEAD") == 0
    assert program.hub.asked == 2


def test_a_failure_stands_where_the_setting_says_so() -> None:
    program = Program(MemoryLan({FIRST: manifest(), "main": manifest()}), MemoryHub(status=504), {"bridges": False})
    assert [program.ask(file("main"), "HEAD") for _ in range(2)] == [0, 0]
    assert program.hub.asked == 2
    assert program.ask(file(FIRST), "HEAD") == 200


def test_the_lan_alone_answers_where_the_setting_says_so() -> None:
    program = Program(MemoryLan({FIRST: manifest(), "main": manifest()}), MemoryHub(), {"is_only": True})
    assert program.ask(file("main"), "HEAD") == 200
    assert program.ask("/api/models/org/name") == 200
    assert program.ask("/org/other/resolve/main/a", "HEAD") == 200  # as the tracker's endpoint has it
    program.lan.error = TrackerUnavailable("no answer")
    with pytest.raises(NoAnswer, match="LLMPT_HUB=never"):
        program.ask("/org/other/resolve/main/a", "HEAD")
    assert program.hub.asked == 0
    assert program.said == []


@contextmanager
def downloading(etag: str, size: int, *, proof: Proof = Proof.NONE) -> Iterator[None]:
    call = Call("model", "org/name", "main", "config.json", etag=Etag(etag), size=size, commit=FIRST, proof=proof)
    token = current.set(call)
    try:
        yield
    finally:
        current.reset(token)


@pytest.mark.parametrize("known", [manifest(), manifest(open=False)])
def test_no_file_of_the_lan_alone_is_downloaded_that_was_not_held_against_its_etag(known: Manifest) -> None:
    program = Program(MemoryLan({FIRST: known, "main": known}), MemoryHub(), {"is_only": True})
    with downloading("2" * 64, 50_000_000), pytest.raises(NoAnswer):
        program.ask(file("main", "model.bin"))
    with downloading("1" * 40, 4):
        assert program.ask(file("main")) == 200
        program.lan.content = None
        with pytest.raises(NoAnswer):
            program.ask(file("main"))
    assert not [what for what in program.lan.asked if "/resolve/" in what], (
        "the tracker's endpoint redirects to what was not verified"
    )
    with downloading("2" * 64, 50_000_000, proof=Proof.AS_IT_COMES):
        assert program.ask(file("main", "model.bin")) == 200
    assert program.ask(file("main", "model.bin")) == 200, "it is read, and not downloaded"


def test_a_tracker_that_does_not_answer_costs_a_program_of_the_lan_alone_one_wait() -> None:
    program = Program(MemoryLan(error=TrackerUnavailable("no answer")), MemoryHub(), {"is_only": True})
    for raw in (file("main"), file(FIRST), "/api/models/org/name", "/api/models?search=name") * 3:
        with pytest.raises(NoAnswer):
            program.ask(raw)
    assert sum(program.lan.asked.values()) == 1
    assert program.hub.asked == 0


def test_a_tracker_of_another_hub_has_no_answer() -> None:
    program = Program(MemoryLan(status=421), MemoryHub(), {"is_only": True})
    with pytest.raises(NoAnswer):
        program.ask("/api/models/org/name")


def test_a_small_file_that_the_lan_does_not_give_comes_from_the_hub(program: Program) -> None:
    program.lan.content = None
    assert program.ask(file(FIRST)) == 0


def test_a_tracker_that_does_not_answer_leaves_all_to_the_hub() -> None:
    program = Program(MemoryLan(error=TrackerUnavailable("no answer")), MemoryHub())
    assert [program.ask(file("main"), "HEAD") for _ in range(20)] == [0] * 20
    assert sum(program.lan.asked.values()) == 1


def test_a_bug_of_ours_leaves_all_to_the_hub(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    class Bug(MemoryLan):
        def manifest(self, *_: object) -> object:  # type: ignore[override]
            raise KeyError("a bug")

    program.router = Router(Bug().sources(), say=program.said.append)
    assert program.ask(file(FIRST), "HEAD") == 0
    assert "this is a bug of llmpt" in caplog.text


def test_what_a_program_raises_while_it_waits_goes_through(program: Program) -> None:
    class Limit(BaseException):
        pass

    class Interrupted(MemoryHub):
        def ask(self, *, bounded: bool) -> str:
            raise Limit

    program.hub = Interrupted()
    with pytest.raises(Limit):
        program.ask(file("main"))


def test_each_question_is_told_once(program: Program) -> None:
    program.hub.status = 504
    program.ask(file("main"), "HEAD")
    program.ask(file(FIRST), "HEAD")
    assert [(reply is not None, asked) for reply, asked in program.hub.told] == [(False, True), (True, True), (True, False)]
