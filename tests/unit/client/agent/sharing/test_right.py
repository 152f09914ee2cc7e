"""The token to share with: asked for once, kept, replaced when it is no longer known, and what a refusal does."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmpt.agent.sharing import share_token
from llmpt.agent.sharing.complaints import Complaints
from llmpt.agent.sharing.right import QUIET, Sharing
from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker
from llmpt.core.errors import TrackerRefused, TrackerUnavailable
from llmpt.core.metainfo import Metainfo
from tests.support.waiting import eventually


class Tracker:
    """Gives tokens `t1`, `t2`, …, and knows those in `good`."""

    def __init__(self, file: Path) -> None:
        self.given: list[str] = []
        self.good: set[str] = set()
        self.refusal: TrackerRefused | None = None
        self.asked: list[str | None] = []
        self.now = 0.0
        breaker = Breaker(QUIET, clock=lambda: self.now, chance=lambda: 0.0)
        self.sharing = Sharing("http://t:1", file, client=self._client, breaker=breaker)

    def _client(self, token: str | None) -> Any:
        tracker = self

        class Client:
            def share_token(self, name: str, code: str | None = None) -> str:
                if tracker.refusal is not None:
                    raise tracker.refusal
                tracker.given.append(f"t{len(tracker.given) + 1}")
                tracker.good.add(tracker.given[-1])
                return tracker.given[-1]

            def publish(self, body: object) -> dict[str, object]:
                tracker.asked.append(token)
                if tracker.refusal is not None:
                    raise tracker.refusal
                if token not in tracker.good:
                    raise TrackerRefused("unknown token", status=401, code="token")
                return {"torrents": 1}

        return Client()

    def publish(self) -> object:
        return self.sharing.call(lambda client: client.publish({}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "share-1.token"


@pytest.fixture
def tracker(file: Path) -> Tracker:
    return Tracker(file)


def test_a_token_is_asked_for_once_and_kept_for_this_user_alone(tracker: Tracker, file: Path) -> None:
    for _ in range(3):
        tracker.publish()
    assert tracker.asked == ["t1"] * 3
    assert share_token.read(file) == "t1"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    after_restart = Tracker(file)
    after_restart.good.add("t1")
    after_restart.publish()
    assert after_restart.given == []


def test_one_that_is_no_longer_known_is_replaced_once(tracker: Tracker, file: Path) -> None:
    share_token.write(file, "old")
    tracker.publish()
    assert tracker.asked == ["old", "t1"]
    assert share_token.read(file) == "t1"


def test_a_tracker_that_knows_none_is_left_alone(tracker: Tracker) -> None:
    tracker.good = Forgetful()
    for _ in range(3):
        with pytest.raises(TrackerRefused):
            tracker.publish()
    assert len(tracker.given) <= 2
    assert tracker.sharing.why_not


class Forgetful(set[str]):
    def __contains__(self, _token: object) -> bool:
        return False


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "sharing_off", "LLMPT_SHARING=off"),
        (403, "code_needed", "llmpt join URL --code CODE"),
        (404, "not_found", "too old"),
        (403, "something", "the tracker's own words"),
    ],
)
def test_a_refusal_is_said_once_and_holds_for_a_while(
    tracker: Tracker, caplog: pytest.LogCaptureFixture, status: int, code: str, words: str
) -> None:
    tracker.refusal = TrackerRefused("the tracker's own words", status=status, code=code)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            with pytest.raises(TrackerRefused):
                tracker.publish()
        assert words in tracker.sharing.why_not
        tracker.now += QUIET.first_s + 1
        assert tracker.sharing.why_not == "", "it may have changed: ask again"
        with pytest.raises(TrackerRefused):
            tracker.publish()
    assert sum(words in record.message for record in caplog.records) == 1
    tracker.refusal = None
    tracker.now += QUIET.longest_s + 1
    tracker.publish()
    assert tracker.sharing.why_not == ""


def test_a_refusal_that_goes_on_holds_ever_longer_up_to_ten_minutes(tracker: Tracker) -> None:
    tracker.refusal = TrackerRefused("off", status=403, code="sharing_off")
    holds = []
    for _ in range(6):
        tracker.sharing.prepare()
        begun = tracker.now
        while tracker.sharing.why_not:
            tracker.now += 1
        holds.append(tracker.now - begun)
    assert holds == [60, 120, 240, 480, 600, 600]


def test_sharing_that_was_switched_off_is_noticed_with_a_token_in_hand(tracker: Tracker) -> None:
    tracker.publish()
    tracker.refusal = TrackerRefused("off", status=403, code="sharing_off")
    with pytest.raises(TrackerRefused):
        tracker.publish()
    asked = len(tracker.asked)
    with pytest.raises(TrackerRefused):
        tracker.publish()
    assert len(tracker.asked) == asked


def test_an_invitation_handed_in_meanwhile_is_noticed(tracker: Tracker, file: Path) -> None:
    tracker.refusal = TrackerRefused("by invitation", status=403, code="code_needed")
    tracker.sharing.prepare()
    assert "--code" in tracker.sharing.why_not
    tracker.refusal = None
    share_token.write(file, "invited")
    tracker.good.add("invited")
    assert tracker.sharing.why_not == ""
    tracker.publish()
    assert tracker.asked == ["invited"]


def test_a_tracker_that_asks_for_patience_gets_it(tracker: Tracker) -> None:
    tracker.refusal = TrackerRefused("too many", status=429, code="slow_down", retry_after_s=30)
    tracker.sharing.prepare()
    tracker.refusal = None
    with pytest.raises(TrackerRefused):
        tracker.publish()
    tracker.now += 31
    tracker.publish()


def test_an_empty_answer_is_no_token(tracker: Tracker, file: Path) -> None:
    sharing = Sharing("http://t:1", file, client=lambda _token: EMPTY)
    with pytest.raises(TrackerUnavailable):
        sharing.call(lambda client: client.publish({}))
    assert not file.exists()


class _Empty:
    def share_token(self, name: str, code: str | None = None) -> str:
        return ""


EMPTY: Any = _Empty()


def test_a_file_that_is_no_token_is_none(tmp_path: Path) -> None:
    assert share_token.read(tmp_path / "nothing") is None
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert share_token.read(tmp_path / "bytes") is None


def test_each_tracker_has_a_token_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert share_token.token_path("http://a:1") != share_token.token_path("http://b:1")


def test_a_wrong_torrent_is_complained_of_once() -> None:
    told: list[tuple[Etag, str, str]] = []
    sharing: Any = SimpleNamespace(call=lambda ask: ask(SimpleNamespace(report=lambda *what: told.append(what))))
    wrong = Metainfo.from_leaves(Etag("b" * 64), 1000, bytes(32))
    complaints = Complaints(sharing)
    for _ in range(3):
        complaints.make(wrong, "its content is another")
    eventually(lambda: told, what="the complaint")
    assert told == [(wrong.etag, str(wrong.info_hash), "its content is another")]
