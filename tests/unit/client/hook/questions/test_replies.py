"""A file in a Hub's words: its headers, its content and each part of it, its absence."""

from __future__ import annotations

import json

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoPath
from llmpt.hook.questions import replies
from llmpt.hook.questions.question import Question
from llmpt.tracker.catalogue import File

COMMIT = "c" * 40
SMALL = File(RepoPath('a/ü "x".json'), 10, Etag("1" * 40))
LARGE = File(RepoPath("model.bin"), 5_000_000, Etag("2" * 64))


def question(method: str = "GET", part: str = "") -> Question:
    found = Question.of(method, f"/org/name/resolve/{COMMIT}/a", {"Range": part}.get, lambda: b"")
    assert found is not None
    return found


def test_a_file_in_git_has_its_etag_and_size() -> None:
    reply = replies.described(COMMIT, SMALL)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.header("x-repo-commit") == COMMIT
    assert reply.header("etag") == f'"{"1" * 40}"'
    assert reply.header("content-length") == "10"
    assert reply.header("x-linked-etag") is None
    assert all(text.isascii() for _, text in reply.headers)


def test_a_file_outside_git_has_them_as_the_linked_ones_too() -> None:
    reply = replies.described(COMMIT, LARGE)
    assert (reply.header("X-Linked-Etag"), reply.header("X-Linked-Size")) == (f'"{"2" * 64}"', "5000000")
    assert not [name for name, _ in reply.headers if "xet" in name.lower()]


@pytest.mark.parametrize(
    ("part", "status", "body", "shown"),
    [
        ("", 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-100000", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
    ],
)
def test_a_part_is_cut_out_of_the_whole(part: str, status: int, body: bytes, shown: str | None) -> None:
    reply = replies.given(COMMIT, SMALL, b"0123456789", question(part=part))
    assert (reply.status, reply.body, reply.header("Content-Range")) == (status, body, shown)
    assert reply.header("Content-Length") == str(len(body))


def test_a_file_that_is_not_there_is_believed_with_its_commit() -> None:
    reply = replies.absent(COMMIT, question())
    assert (reply.status, reply.header("X-Error-Code"), reply.header("X-Repo-Commit")) == (404, "EntryNotFound", COMMIT)
    assert "error" in json.loads(reply.body)
    assert replies.absent(COMMIT, question("HEAD")).body == b""
