"""The programs that wait for one blob: each is told how it ended, whatever becomes of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmpt.agent.transfer.record import Record
from llmpt.agent.transfer.result import BrokenOff, NotFromLan, Whole
from llmpt.agent.transfer.subscribers import Subscriber, Subscribers
from llmpt.core.blob import Etag
from llmpt.core.files import FileId
from llmpt.link.answers import Progress
from llmpt.link.requests import FetchRequest


def join(subscribers: Subscribers, ino: int) -> Subscriber:
    request = FetchRequest(
        tracker="http://t", etag=Etag("a" * 64), size=5, repo=None, revision="", filename=None, path=Path("/p"),
        file=FileId(1, ino), destination=Path("/d"), replace=False,
    )  # fmt: skip
    found = subscribers.join(request, Record.begin(request))
    assert found is not None
    return found


@pytest.fixture
def subscribers() -> Subscribers:
    return Subscribers()


def test_the_one_that_has_waited_longest_is_the_first_until_it_leaves(subscribers: Subscribers) -> None:
    assert subscribers.first is None
    first, second = join(subscribers, 1), join(subscribers, 2)
    assert subscribers.first is first
    subscribers.leave(first)
    subscribers.leave(first)
    assert subscribers.first is second


def test_of_two_with_one_file_the_latest_counts(subscribers: Subscribers) -> None:
    join(subscribers, 1)
    again = join(subscribers, 1)
    assert subscribers.of(FileId(1, 1)) is again
    assert subscribers.of(FileId(1, 2)) is None


def test_after_the_end_none_can_join(subscribers: Subscribers) -> None:
    one = join(subscribers, 1)
    assert not subscribers.close_if_none()
    subscribers.leave(one)
    assert subscribers.close_if_none()
    assert subscribers.join(one.request, one.record) is None


def test_one_is_told_and_the_others_go_on_waiting(subscribers: Subscribers) -> None:
    one, other = join(subscribers, 1), join(subscribers, 2)
    subscribers.tell(one, NotFromLan("enough"))
    assert (one.result, other.result, subscribers.first) == (NotFromLan("enough"), None, other)


def test_a_whole_file_is_one_programs_own_and_the_others_copy_it(subscribers: Subscribers, tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"whole")
    whole = os.open(tmp_path / "whole", os.O_RDONLY)
    own, other = join(subscribers, 1), join(subscribers, 2)
    subscribers.tell_all(Whole(), whole=whole, own=own.request.file, is_moved=True, part=Whole())
    os.close(whole)
    assert (own.result, own.is_moved, own.copy_from) == (Whole(), True, None)
    assert (other.result, other.is_moved) == (Whole(), False)
    assert other.copy_from is not None
    assert os.read(other.copy_from, 9) == b"whole"
    os.close(other.copy_from)


def test_what_has_come_is_told_to_the_one_in_whose_file_it_is(subscribers: Subscribers) -> None:
    own, other = join(subscribers, 1), join(subscribers, 2)
    result, part = BrokenOff("enough", ((0, 5),)), BrokenOff("enough")
    subscribers.tell_all(result, whole=None, own=own.request.file, is_moved=False, part=part)
    assert (own.result, other.result) == (result, part)
    assert subscribers.join(own.request, own.record) is None


def test_one_that_cannot_have_its_copy_is_told_so(subscribers: Subscribers) -> None:
    one, other = join(subscribers, 1), join(subscribers, 2)
    subscribers.tell_all(Whole(), whole=-1, own=None, is_moved=False, part=Whole())
    assert all(isinstance(each.result, BrokenOff) for each in (one, other))


def test_what_is_news_is_heard_at_once_and_what_is_not_is_not(subscribers: Subscribers) -> None:
    one = join(subscribers, 1)
    progress, seen = subscribers.hear(one, 0, 10)
    assert progress == Progress()
    subscribers.show(Progress(5, waiting=True))
    progress, later = subscribers.hear(one, seen, 10)
    assert (progress.done_bytes, one.record.waits) == (5, True)
    subscribers.show(Progress(5, waiting=True))
    assert subscribers.hear(one, later, 0.01)[1] == later
    subscribers.tell(one, Whole())
    subscribers.hear(one, later, 10)
    assert one.record.waits is False
