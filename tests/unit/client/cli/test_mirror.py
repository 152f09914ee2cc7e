"""`llmpt mirror`, against a tracker that is a fake."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from llmpt.core.errors import LlmptError, TrackerRefused, TrackerUnavailable
from llmpt.core.mirrors import Mirror, MirrorAsk
from llmpt.core.repo import RepoRef

module = importlib.import_module("llmpt.cli.mirror")  # the package's attribute of that name is the command

ROW = {
    "id": 7, "repo_type": "model", "repo_id": "org/name", "revision": "main", "include": ["*"], "state": "queued", "commit": None,
    "files_total": 0, "files_done": 0, "bytes_total": 0, "bytes_done": 0, "error": None,
    "requested_at": "2026-11-01T00:00:00+00:00", "wanted_at": "2026-11-01T00:00:00+00:00", "ended_at": None,
}  # fmt: skip


class FakeClient:
    """Answers with `rows`, one after the other; an exception is raised."""

    rows: ClassVar[list[Any]] = []
    asked: ClassVar[list[tuple[str | None, RepoRef, str, tuple[str, ...]]]] = []
    refuse: ClassVar[TrackerRefused | None] = None

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 2.0) -> None:
        self.url, self._token = url, token

    def with_token(self, token: str | None, *, timeout_s: float = 2.0) -> FakeClient:
        return FakeClient(self.url, token=token, timeout_s=timeout_s)

    def share_token(self, name: str, code: str | None = None) -> str:
        return "llmpt_share_x"

    def ask_mirror(self, ask: MirrorAsk) -> Mirror:
        self.asked.append((self._token, ask.repo, ask.revision, ask.include))
        if self.refuse is not None:
            raise self.refuse
        return Mirror.parse({**ROW, **ask.as_json()})

    def mirror(self, mirror_id: int) -> Mirror:
        assert mirror_id == 7
        row = self.rows.pop(0)
        if isinstance(row, Exception):
            raise row
        _, repo, revision, include = self.asked[-1]
        return Mirror.parse({**ROW, **MirrorAsk(repo, revision, include).as_json(), **row})

    def mirrors(self, states: Any = ()) -> list[Mirror]:
        return [Mirror.parse({**ROW, **row}) for row in self.rows]


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    FakeClient.rows, FakeClient.asked, FakeClient.refuse = [], [], None
    monkeypatch.setattr(module, "tracker", lambda settings: FakeClient("http://server:8000"))
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    monkeypatch.setenv("LLMPT_TOKEN", "llmpt_pub_x")
    return FakeClient


def run(*arguments: str) -> Any:
    return CliRunner().invoke(module.mirror, arguments)


def test_it_waits_until_the_server_has_it_also_while_that_starts_anew(client: type[FakeClient]) -> None:
    running = {
        "state": "running",
        "bytes_total": 100,
        "bytes_done": 40,
        "error": {"message": "slowly", "status": 429, "retry_after_s": 9},
    }
    client.rows = [
        running,
        TrackerUnavailable("no answer"),
        {"state": "done", "commit": "c" * 40, "files_total": 3, "bytes_total": 100},
    ]
    result = run("datasets/org/name", "--revision", "v1", "--include", "*.bin")
    assert (result.exit_code, client.rows) == (0, [])
    assert "datasets/org/name at cccccccccccc is here: 3 files, 100 bytes" in result.output
    assert client.asked == [("llmpt_pub_x", RepoRef("dataset", "org/name"), "v1", ("*.bin",))]


def test_a_failure_is_one_sentence_in_upstreams_words(client: type[FakeClient]) -> None:
    client.rows = [{"state": "failed", "error": {"message": "Repository Not Found", "status": 401, "retry_after_s": 60}}]
    result = run("org/name")
    assert isinstance(result.exception, LlmptError)
    assert str(result.exception) == "org/name was not fetched: Repository Not Found (401)"


def test_it_can_be_put_into_the_queue_only(client: type[FakeClient]) -> None:
    result = run("org/name", "--no-wait")
    assert (result.exit_code, "is in the queue" in result.output) == (0, True)


def test_without_a_token_of_its_own_the_machine_uses_the_one_it_shares_with(
    client: type[FakeClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("LLMPT_TOKEN")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run("org/name", "--no-wait").exit_code == 0
    assert client.asked[0][0] == "llmpt_share_x"


def test_who_may_not_is_told_which_setting_helps(client: type[FakeClient]) -> None:
    client.refuse = TrackerRefused("http://server:8000: this tracker does not know that token", status=401, code="token_unknown")
    result = run("org/name")
    assert isinstance(result.exception, LlmptError)
    assert "LLMPT_TOKEN" in str(result.exception)


def test_the_list_shows_what_is_fetched_and_why_not(client: type[FakeClient]) -> None:
    client.rows = [
        {"state": "failed", "error": {"message": "the disk is full", "status": None, "retry_after_s": None}},
        {"state": "done"},
    ]
    result = run("--list")
    assert result.exit_code == 0
    assert "failed: the disk is full" in result.output
    assert "org/name" in result.output


def test_nothing_to_do_is_a_usage_error() -> None:
    assert run().exit_code == 2
