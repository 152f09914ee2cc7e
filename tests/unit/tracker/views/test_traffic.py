"""What the API and the pages tell of bytes: rates, and what was saved, of those repos that the asker may read."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from xml.etree import ElementTree

from flask import Flask, get_template_attribute

from llmpt_tracker.app import create_app
from llmpt_tracker.control.messages import Traffic
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.rules import tokens, traffic
from llmpt_tracker.rules.rights import READ, Rights
from llmpt_tracker.rules.traffic import RatePoint
from llmpt_tracker.serve.key_file import ensure_key
from llmpt_tracker.settings import TrackerSettings
from tests.unit.tracker.bodies import MIB, big, manifest, packed, torrent
from tests.unit.tracker.conftest import NOW, Api, publisher, state_of
from tests.unit.tracker.fakes import FakeAnnouncer

A = torrent("a", 6 * MIB)
MINUTE = timedelta(minutes=1)


def came(database: Database) -> None:
    """Have three machines got the file, one of which fetched half of it from the Hub, two minutes ago."""
    with database.writing() as session:
        what = Traffic({A.info_hash.truncated: 2}, hub_bytes=3 * MIB)
        traffic.keep(session, what, (), since=NOW - 3 * MINUTE, now=NOW - 2 * MINUTE)


def test_rates_and_savings_are_told(api: Api, database: Database) -> None:
    api.publish(manifest(big("m", A), torrents=packed(A)))
    came(database)
    said = api.get("/api/v1/traffic").get_json()
    assert [len(said[name]) for name in ("hour", "day", "repos")] == [60, 144, 1]
    assert [point["hub_bytes_s"] for point in said["hour"][-3:]] == [0, 3 * MIB // 60, 0]
    assert sum(point["hub_bytes_s"] for point in said["day"]) == 3 * MIB // 600
    assert said["today"] == said["month"]
    assert (said["today"]["saved_bytes"], said["today"]["hub_bytes"]) == (12 * MIB, 3 * MIB)
    assert (said["repos"][0]["repo_id"], said["repos"][0]["saved_bytes"]) == ("org/name", 12 * MIB)
    assert api.get("/api/v1/traffic?x=1").status_code == 400


def test_a_reader_is_told_of_those_repos_alone_that_it_may_read(settings: TrackerSettings) -> None:
    ensure_key(settings.key_file)
    app = create_app(dataclasses.replace(settings, require_read_token=True), lambda: NOW, FakeAnnouncer())
    found = state_of(app)
    publisher(app).publish(manifest(big("m", A), torrents=packed(A)))
    came(found.database)
    with found.database.writing() as session:
        for name, repos in (("all", None), ("other", "org/other")):
            tokens.grant(session, name, Rights.read(READ, repos), name=name, now=NOW)
    told = {}
    for secret in ("all", "other"):
        answer = app.test_client().get("/api/v1/traffic", headers={"Authorization": f"Bearer {secret}"})
        told[secret] = answer.get_json()
    assert app.test_client().get("/api/v1/traffic").status_code == 401
    found.database.engine.dispose()
    assert [len(told[name]["repos"]) for name in told] == [1, 0]


def chart(app: Flask, points: list[RatePoint]) -> ElementTree.Element:
    with app.test_request_context():
        return ElementTree.fromstring(get_template_attribute("_chart.html", "rates_chart")("hour", "The last <hour>", points))


def test_a_chart_says_in_words_what_it_shows(app: Flask) -> None:
    points = [RatePoint(NOW + number * MINUTE, number % 4 * 1000, 0, number * 100) for number in range(60)]
    figure = chart(app, points)
    named = {one.get("id"): one.text for one in figure.iter() if one.get("id")}
    [svg] = figure.iter("svg")
    assert [named[name] is not None for name in str(svg.get("aria-labelledby")).split()] == [True, True]
    assert "up to 5.9 kB/s" in str(named["hour-text"])
    assert "The last <hour>" in str(named["hour-title"])
    lines = [[tuple(map(float, at.split(","))) for at in str(line.get("points")).split()] for line in figure.iter("polyline")]
    assert [len(line) for line in lines] == [60] * 3
    assert all(0 <= x <= 600 and 1 <= y <= 119 for line in lines for x, y in line)
    assert lines[2][-1] == (600, 1)  # the highest of all
    assert len(list(figure.iter("tr"))) == 60  # the head, and all but the first, in which nothing came


def test_a_chart_of_nothing_says_so(app: Flask) -> None:
    figure = chart(app, [RatePoint(NOW)])
    assert "nothing came or went" in "".join(figure.itertext())
    assert not list(figure.iter("table"))
