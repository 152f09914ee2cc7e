"""How far a download looks."""

from __future__ import annotations

from llmpt.agent.transfer.bar import Bar


def test_a_bar_that_waited_goes_on_from_there_and_ends_where_the_file_does() -> None:
    bar = Bar(1001)
    shown = [bar.waiting(done) for done in (0, 400, 300, 1001)]
    assert shown == [0, 200, 200, 500], "another fetcher begins anew, the bar does not"
    assert bar.arriving(0) == 500
    assert [bar.arriving(done) for done in (500, 1001, 1002)] == [750, 1001, 1001]


def test_a_bar_that_did_not_wait_is_the_transfers_own() -> None:
    assert [Bar(1001).arriving(done) for done in (0, 1, 500, 1001)] == [0, 1, 500, 1001]
