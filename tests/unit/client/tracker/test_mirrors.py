"""The queue of mirrors is read in order, of an older tracker, too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from llmpt.core.errors import TrackerRefused
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorReport, MirrorState
from llmpt.core.repo import RepoRef
from llmpt.tracker.mirrors import read_in_order
from llmpt.tracker.wire import Reply, Wire

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)


def mirror(number: int, *include: str) -> Mirror:
    return Mirror(number, MirrorAsk(RepoRef("model", "org/name"), "main", include), MirrorReport(MirrorState.QUEUED), NOW, NOW)


class OldTracker(Wire):
    """Knows no order, and tells the newest first, two at a time."""

    def __init__(self, *told: Mirror, status: int = 400) -> None:
        super().__init__("http://127.0.0.1:9")
        self.told, self.status = told, status

    def call(self, method: str, path: str, query: Mapping[str, str], *_: Any, **__: Any) -> Reply:
        if "order" in query:
            raise TrackerRefused("order: no parameter of this route", status=self.status, code="bad_request")
        start = int(query.get("cursor", "0"))
        page = [one.as_json() for one in self.told[start : start + 2]]
        following = str(start + 2) if start + 2 < len(self.told) else None
        return Reply({"mirrors": page, "next": following}, "127.0.0.1", 100)


def test_an_older_tracker_is_read_whole_and_put_in_order() -> None:
    tracker = OldTracker(mirror(5, "e"), mirror(4), mirror(3, "c"), mirror(2), mirror(1, "a"))
    assert [one.id for one in read_in_order(tracker, {"state": "queued"})] == [2, 4, 1, 3, 5]


def test_another_no_is_passed_on() -> None:
    with pytest.raises(TrackerRefused):
        list(read_in_order(OldTracker(status=401), {}))
