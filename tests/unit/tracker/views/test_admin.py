"""The operator's page: who comes in, what is shown, and that a form is taken from the page itself alone."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from llmpt.core.mirrors import MirrorAsk
from llmpt.core.repo import RepoRef
from llmpt_tracker.app import create_app
from llmpt_tracker.database.models import PublisherToken
from llmpt_tracker.rules import audit, mirrors, orders, tokens
from llmpt_tracker.rules.rights import Rights
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.conftest import NOW, state_of
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs

BROWSER = {"User-Agent": "Mozilla/5.0", "Host": "server:8000"}


class Operator:
    """A browser whose user has typed a token in."""

    def __init__(self, app: Flask, secret: str) -> None:
        self.app, self.secret, self.client = app, secret, app.test_client()

    @property
    def _headers(self) -> dict[str, str]:
        return BROWSER | {"Authorization": "Basic " + base64.b64encode(f"me:{self.secret}".encode()).decode()}

    def open(self, path: str = "/admin") -> TestResponse:
        return self.client.get(path, headers=self._headers)

    def key(self) -> str:
        """Return what the page's forms carry."""
        match = re.search(r'name="form" value="([0-9a-f]{64})"', self.open().get_data(as_text=True))
        assert match is not None
        return match[1]

    def send(self, path: str, *, origin: str = "http://server:8000", **fields: Any) -> TestResponse:
        return self.client.post(f"/admin{path}", data=fields, headers=self._headers | {"Origin": origin})


def made(app: Flask, scope: str = "admin", **more: Any) -> str:
    """Make a token; return its secret."""
    secret = tokens.new_secret(scope)
    with state_of(app).database.writing() as session:
        tokens.grant(session, secret, Rights.read(scope, **more), name=f"the {scope}'s", now=NOW)
    return secret


def row(app: Flask, secret: str) -> PublisherToken:
    with state_of(app).database.reading() as session:
        found = tokens.find(session, secret)
        assert found is not None
        return found


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, made(app))


def test_without_a_token_a_browser_asks_its_user_for_one(app: Flask) -> None:
    answer = app.test_client().get("/admin", headers=BROWSER)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_only_an_admins_token_for_all_repos_that_is_valid_opens_it(app: Flask, operator: Operator) -> None:
    assert operator.open().status_code == 200
    for scope in ("publish", "mirror", "read", "share"):
        assert Operator(app, made(app, scope)).open().status_code == 403
    assert Operator(app, made(app, repos="org/*")).open().status_code == 403
    assert Operator(app, made(app, expires_at=NOW - timedelta(seconds=1))).open().status_code == 401
    with state_of(app).database.writing() as session:
        tokens.revoke(session, row(app, operator.secret).id, now=NOW)
    assert operator.open().status_code == 401


def test_who_guesses_is_told_to_wait(app: Flask, announcer: FakeAnnouncer) -> None:
    announcer.wait_s = 7.0
    answer = Operator(app, "llmpt_admin_guessed").open()
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "7"


def test_tokens_are_shown_and_never_a_secret(app: Flask, operator: Operator) -> None:
    others = [made(app, "publish", repos="org/*"), made(app, "share"), made(app, "read", expires_at=NOW + timedelta(days=3))]
    text = operator.open().get_data(as_text=True)
    for words in ("the publish&#39;s", "org/*", "the share&#39;s", "until 2026-11-25"):
        assert words in text
    for secret in (*others, operator.secret):
        assert secret not in text
        assert row(app, secret).sha256 not in text


def test_a_token_is_made_shown_once_and_noted(app: Flask, operator: Operator) -> None:
    answer = operator.send("/tokens", form=operator.key(), name="laptop <b>", scope="read", repos="org/*", days="30")
    assert answer.status_code == 200
    text = answer.get_data(as_text=True)
    match = re.search(r"llmpt_read_[\w-]{43}", text)
    assert match is not None
    assert "laptop &lt;b&gt;" in text
    its = row(app, match[0])
    assert (its.scope, its.repos, its.expires_at) == ("read", "org/*", NOW + timedelta(days=30))
    assert match[0] not in operator.open().get_data(as_text=True)
    with state_of(app).database.reading() as session:
        noted, _ = audit.page(session, limit=1)
    assert (noted[0].event, noted[0].actor.token, noted[0].detail["name"]) == (audit.TOKEN_MADE, "the admin's", "laptop <b>")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": ""}, "bad_name"),
        ({"name": "x" * 81}, "bad_name"),
        ({"scope": "root"}, "bad_scope"),
        ({"repos": "!"}, "bad_name"),
        ({"days": "0"}, "bad_request"),
        ({"days": "-1"}, "bad_request"),
        ({"days": "99999999999999"}, "bad_request"),
        ({"days": "soon"}, "bad_request"),
        ({"days": "²"}, "bad_request"),
    ],
)
def test_what_makes_no_token_is_refused_and_makes_none(operator: Operator, wrong: dict[str, str], code: str) -> None:
    fields = {"form": operator.key(), "name": "one", "scope": "read", "repos": "", "days": ""} | wrong
    answer = operator.send("/tokens", **fields)
    assert answer.status_code == (400 if code == "bad_request" else 422)
    with state_of(operator.app).database.reading() as session:
        assert len(tokens.listed(session)) == 1


def test_a_token_is_revoked_at_once_but_not_the_one_that_revokes(app: Flask, operator: Operator) -> None:
    other = made(app, "publish")
    answer = operator.send(f"/tokens/{row(app, other).id}/revoke", form=operator.key())
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")
    assert row(app, other).revoked_at == NOW
    assert operator.send(f"/tokens/{row(app, operator.secret).id}/revoke", form=operator.key()).status_code == 409
    assert operator.send("/tokens/999/revoke", form=operator.key()).status_code == 404
    text = operator.open().get_data(as_text=True)
    assert "token revoked" in text


def test_a_page_of_another_site_and_a_form_of_another_token_change_nothing(app: Flask, operator: Operator) -> None:
    other = made(app, "publish")
    path = f"/tokens/{row(app, other).id}/revoke"
    second = Operator(app, made(app))
    assert operator.send(path, origin="http://evil.example", form=operator.key()).status_code == 403
    assert operator.send(path).status_code == 403
    assert operator.send(path, form="0" * 64).status_code == 403
    assert operator.send(path, form=second.key()).status_code == 403
    assert operator.send(path, form="é").status_code == 403
    assert operator.client.get(f"/admin{path}", headers=operator._headers).status_code == 405
    assert row(app, other).revoked_at is None


def test_a_body_that_is_no_form_is_refused(operator: Operator) -> None:
    for data in (b"\xff\xfe", b"&".join(b"a=1" for _ in range(30)), b"x" * 9000):
        answer = operator.client.post("/admin/tokens", data=data, headers=operator._headers | {"Origin": "http://server:8000"})
        assert answer.status_code in (400, 413)


def test_the_audit_log_comes_in_pages_the_newest_first(operator: Operator) -> None:
    with state_of(operator.app).database.writing() as session:
        for number in range(120):
            audit.note(session, audit.PUBLISHED, audit.OPERATOR, now=NOW, number=number)
    seen: list[int] = []
    path: str | None = "/admin"
    while path is not None:
        text = operator.open(path).get_data(as_text=True)
        seen += [int(number) for number in re.findall(r"number=(\d+)", text)]
        match = re.search(r'href="([^"]*)" rel="next"', text)
        path = None if match is None else html.unescape(match[1])
    assert seen == [*range(119, -1, -1)]


def test_where_reading_takes_a_token_the_forms_work_too(settings: TrackerSettings) -> None:
    ensure_key(settings.data / "server.key")
    app = create_app(dataclasses.replace(settings, require_read_token=True), lambda: NOW, FakeAnnouncer(), blobs=FakeBlobs())
    guarded = Operator(app, made(app))
    assert guarded.send("/tokens", form=guarded.key(), name="one", scope="read", repos="", days="").status_code == 200
    assert guarded.send("/tokens", name="one", scope="read", repos="", days="").status_code == 403
    state_of(app).database.engine.dispose()


def test_the_queue_is_shown_cancelled_and_pinned(app: Flask, operator: Operator, blobs: FakeBlobs) -> None:
    with state_of(app).database.writing() as session:
        mirrors.ask(session, MirrorAsk(RepoRef("model", "org/new"), "main", ("*",)), now=NOW)
    assert "org/new" in operator.open().get_data(as_text=True)
    said = {"form": operator.key(), "repo_type": "model", "repo_id": "org/new"}
    answer = operator.send("/queue", order="pin", **said)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")
    assert "Unpin: unpin" in operator.open().get_data(as_text=True)
    assert operator.send("/queue", order="cancel", **said).status_code == 303
    assert operator.send("/queue", order="cancel", **said).status_code == 404
    assert operator.send("/queue", order="unpin", **said).status_code == 303
    assert operator.send("/queue", order="burn", **said).status_code == 400
    assert operator.send("/queue", order="pin", **said | {"repo_id": "../x"}).status_code == 422
    assert blobs.knocks == 3
    text = operator.open().get_data(as_text=True)
    for words in ("mirror cancelled", "pinned", "unpinned"):
        assert words in text


def test_an_order_of_another_sites_page_or_without_the_forms_key_changes_nothing(app: Flask, operator: Operator) -> None:
    said = {"repo_type": "model", "repo_id": "org/new", "order": "pin"}
    assert operator.send("/queue", origin="http://evil.example", form=operator.key(), **said).status_code == 403
    assert operator.send("/queue", **said).status_code == 403
    assert operator.send("/queue", form="0" * 64, **said).status_code == 403
    with state_of(app).database.reading() as session:
        assert orders.pinned(session) == []
