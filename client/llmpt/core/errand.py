"""A step of ours on a thread of its own, while the program's thread does nothing but wait for it.

What a program raises into its own thread (the time limit of a job from a signal handler, a cancel in a progress bar, Ctrl-C)
can come at any instruction. Here it comes where no `except` of ours is, goes through at once, and the step is told to end.
"""

from __future__ import annotations

import contextvars
import threading
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from llmpt.core.errors import Abandoned

T = TypeVar("T")

LOOK_UP_S = 0.25  # what another thread sets into a waiting one comes up in it when it next does something
LETTING_GO_S = 1.0  # for a step that is told to end to let go of its files, before its program goes on


class Errand(Generic[T]):
    """One step. `run` it; it may `tell` the thread that waits something, and has to `check` now and then."""

    def __init__(self, step: Callable[[], T]) -> None:
        self._step = step
        self.told: SimpleQueue[Callable[[], object] | None] = SimpleQueue()  # a signal breaks a Condition, and not this
        self._ends: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._afterwards: list[Callable[[], object]] = []
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._claim = threading.Lock()  # of the thread that does the step, or of an end that was quicker
        self.abandoned = False
        self.is_void = False  # the step was never begun, and never is

    def run(self) -> T:
        """Return what the step returns, or raise what it raises; whatever comes from elsewhere meanwhile ends the step."""
        context = contextvars.copy_context()
        try:
            try:
                start_new_thread(context.run, (self._work,))  # not a Thread, whose start a signal can break in two
            except RuntimeError:
                if not self._claim.acquire(blocking=False):
                    raise
                self._over.set()
                return self._step()  # the process has no thread left, or is ending
            while (told := self._next_told()) is not None:
                told()
        except BaseException:
            self._abandon()
            raise
        if self._error is not None:
            raise self._error
        return self._result[0]

    def afterwards(self, step: Callable[[], object]) -> bool:
        """Have `step` done on the errand's thread when nothing else of it runs any more; False when it is over already."""
        with self._lock:
            if self._over.is_set() or not self.abandoned:
                return False
            self._afterwards.append(step)
            return True

    def _work(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        current.set(self)
        try:
            self._result.append(self._step())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            self._error = error
        finally:
            self.told.put(None)
            with self._lock:
                self._over.set()
                afterwards = self._afterwards
            for step in afterwards:
                step()

    def _next_told(self) -> Callable[[], object] | None:
        while True:
            with suppress(Empty):
                return self.told.get(timeout=LOOK_UP_S)

    def _abandon(self) -> None:
        self.abandoned = True
        if self._claim.acquire(blocking=False):
            self.is_void = True
            self._over.set()
        for end in tuple(self._ends):
            with suppress(OSError):
                end()
        self._over.wait(LETTING_GO_S)

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """As the function of that name, for this errand."""
        self._ends.append(end)
        try:
            if self.abandoned:
                raise Abandoned("the program waits no longer")
            yield
        finally:
            self._ends.remove(end)


current: ContextVar[Errand[Any] | None] = ContextVar("llmpt_errand", default=None)


def tell(told: Callable[[], object]) -> None:
    """Have `told` called by the thread that waits for this errand, soon, and in order; outside of one, call it now."""
    errand = current.get()
    if errand is None:
        told()
    else:
        errand.told.put(told)


def check() -> None:
    """Raise `Abandoned` when the program of this errand waits no longer."""
    errand = current.get()
    if errand is not None and errand.abandoned:
        raise Abandoned("the program waits no longer")


@contextmanager
def ending(end: Callable[[], object]) -> Iterator[None]:
    """Have `end` called, from another thread, when the program waits no longer: it wakes what the block waits for."""
    errand = current.get()
    if errand is None:
        yield
        return
    with errand.ending(end):
        yield
