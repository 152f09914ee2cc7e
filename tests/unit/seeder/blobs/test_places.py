"""That clients were turned away is said: in the log once a minute, and as a trouble for a while."""

from __future__ import annotations

import pytest

from llmpt_seeder.blobs.places import SAID_EVERY_S, SHOWN_S, Places


def test_a_limit_that_is_reached_is_a_line_in_the_log_and_a_trouble_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    places = Places(2, clock=lambda: now[0])
    with places.one(0) as first, places.one(0) as second:
        assert (first, second, places.trouble()) == (True, True, None)
        for _ in range(3):
            with places.one(0) as third:
                assert not third
        assert caplog.text.count("all 2 places for clients over HTTP were taken") == 1
        now[0] += SAID_EVERY_S
        with places.one(0):
            pass
    assert caplog.text.count("all 2 places") == 2
    assert places.trouble() == "all 2 places for clients over HTTP were taken: some were told to come back (503)"
    now[0] += SHOWN_S
    assert places.trouble() is None
    with places.one(0) as free:
        assert free
