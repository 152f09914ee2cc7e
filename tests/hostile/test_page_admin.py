"""A web page of another site in the browser of an operator who has logged in at /admin: the browser adds the password itself."""

from __future__ import annotations

import base64
import http.client
import re
from pathlib import Path
from urllib.parse import urlencode

from tests.support.tracker import TrackerProcess

BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"
FIELDS = {"name": "evil", "scope": "admin", "repos": "", "days": ""}


class Browser:
    """An operator's, which has asked for the token once."""

    def __init__(self, tracker: TrackerProcess) -> None:
        self._port = tracker.http_port
        secret = tracker.make_token("--scope", "admin", "--name", "operator")
        password = base64.b64encode(f"me:{secret}".encode()).decode()
        self._headers = {"User-Agent": BROWSER, "Authorization": f"Basic {password}"}

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            form = {"Content-Type": "application/x-www-form-urlencoded"} if fields is not None else {}
            more = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, urlencode(fields) if fields is not None else None, self._headers | form | more)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def test_a_page_of_another_site_makes_and_revokes_no_token(tmp_path: Path) -> None:
    with TrackerProcess(tmp_path / "data") as tracker:
        browser = Browser(tracker)
        status, page = browser.ask("GET", "/admin")
        assert status == 200
        key = re.search(r'name="form" value="([0-9a-f]{64})"', page)
        assert key is not None
        own = {"Origin": tracker.url}
        for foreign in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}, {}):
            for fields in (FIELDS, FIELDS | {"form": key[1]}):  # which it cannot read: as if it could
                assert browser.ask("POST", "/admin/tokens", fields, **foreign)[0] == 403
                assert browser.ask("POST", "/admin/tokens/1/revoke", fields, **foreign)[0] == 403
        assert browser.ask("POST", "/admin/tokens", FIELDS, **own)[0] == 403
        assert browser.ask("GET", "/admin/tokens?" + urlencode(FIELDS))[0] == 405
        assert "evil" not in browser.ask("GET", "/admin")[1].replace("logins", "")
        status, page = browser.ask("POST", "/admin/tokens", FIELDS | {"name": "mine", "form": key[1]}, **own)
        assert status == 200
        assert "llmpt_admin_" in page
