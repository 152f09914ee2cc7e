"""A user who may write into the server's cache names a file so that the page would show something else."""

from __future__ import annotations

from pathlib import Path

from tests.support.holder import Holder
from tests.support.hostile import ask, get
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import manifest, report, small

NAME = "a\u202egpj.exe\u2066<img src=x onerror=alert(1)>\x1b[2J\x08"


def test_a_name_is_shown_as_one_printable_line_and_no_manifest_has_it(tmp_path: Path) -> None:
    with TrackerProcess(tmp_path / "data") as tracker:
        appliance = Holder(tracker, tracker.token)
        for part in NAME, NAME[:2], NAME[-1]:
            assert appliance.send("POST", "/api/v1/publish", manifest(small(part)))[0] == 422
        problem = {"what": NAME, "reason": f"it is not what {NAME} says"}
        assert appliance.send("PUT", "/api/v1/seeders/server", report(problems=[problem]))[0] == 200
        page = ask(tracker.http_port, get("/servers")).partition(b"\r\n\r\n")[2].decode()
        assert "a?gpj.exe?&lt;img src=x" in page
        assert all(line.isprintable() for line in page.splitlines())
