"""What an agent does at its start beside serving programs: by turns with those of other machines."""

from __future__ import annotations

import threading
from functools import partial

from llmpt.agent.daemon import TOKEN_WITHIN_S, _in_a_moment
from tests.support.waiting import eventually


class Stopping(threading.Event):
    """Notes how long it would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


def test_machines_that_start_together_do_not_ask_for_their_tokens_together() -> None:
    stopping, done = Stopping(), list[int]()
    for machine in range(50):
        _in_a_moment("share-token", partial(done.append, machine), within_s=TOKEN_WITHIN_S, stopping=stopping)
    eventually(lambda: len(done) == 50, what="all of them to have asked")
    waits = [wait for wait in stopping.waits if wait is not None]
    assert len(set(waits)) > 40
    assert all(0 <= wait <= TOKEN_WITHIN_S for wait in waits)
    assert max(waits) - min(waits) > TOKEN_WITHIN_S / 2


def test_an_agent_that_ends_before_its_turn_asks_nothing() -> None:
    stopping, done = Stopping(), list[int]()
    stopping.set()
    _in_a_moment("share-token", partial(done.append, 1), within_s=TOKEN_WITHIN_S, stopping=stopping)
    eventually(lambda: all(thread.name != "share-token" for thread in threading.enumerate()), what="its thread to end")
    assert done == []
