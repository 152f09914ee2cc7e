"""A call that knows no deadline of its own, waited for until one: name look-ups, and what libraries do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CallBeside(Generic[T]):
    """A call on a thread of its own, begun. It is abandoned when its program ends; nothing waits for it then."""

    def __init__(self, call: Callable[[], T], *, name: str) -> None:
        """Begin. Raises `OSError` when this process can have no more threads."""
        self._call = call
        self._over = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError as error:  # the limit of threads, or the interpreter is ending
            raise OSError(f"{name}: {error}") from None

    @property
    def is_over(self) -> bool:
        """Whether it has returned or raised."""
        return self._over.is_set()

    def result(self, wait_s: float) -> T:
        """Return what it returns, or raise what it raises; raise `TimeoutError` when that takes longer than `wait_s`."""
        if not self._over.wait(max(wait_s, 0.0)):
            raise TimeoutError("timed out")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # it has returned

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        finally:
            self._over.set()


def within(wait_s: float, call: Callable[[], T], *, name: str) -> T:
    """Return what `call` returns within `wait_s` seconds, or raise what it raises; `TimeoutError` when it takes longer.

    Then it goes on unseen, and what it returns is closed, if it can be.
    """
    is_late = threading.Event()

    def closed_if_late() -> T:
        result = call()
        if is_late.is_set() and hasattr(result, "close"):
            with contextlib.suppress(Exception):
                result.close()
        return result

    begun = CallBeside(closed_if_late, name=name)
    try:
        return begun.result(wait_s)
    except TimeoutError:
        is_late.set()
        raise
