"""How a step of ours is done inside a program: what goes wrong in it is logged, what the program raises goes through."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from llmpt.core.errand import Errand
from llmpt.core.errors import Abandoned
from llmpt.hook.foreign import is_foreign

log = logging.getLogger("llmpt")
T = TypeVar("T")


def guarded(step: Callable[..., T], *args: Any, of_a_callback: bool = False) -> T | None:
    """Do a step that waits for nothing; None when something of ours went wrong in it: the library's own way goes on.

    `of_a_callback`: it calls code of the program's, such as a progress bar.
    """
    try:
        return step(*args)
    except Exception as error:
        if is_foreign(error, of_a_callback=of_a_callback):
            raise
        _log(error)
        return None


def bounded(step: Callable[..., T], *args: Any) -> T | None:
    """Do a step that waits for some seconds at most; None as `guarded` says.

    Signal handlers of the program's run in its main thread alone: there the step is done apart. In the library's own threads a
    thread for each step costs more than a small file.
    """
    if threading.current_thread() is threading.main_thread():
        return Apart().do(step, *args)
    return guarded(step, *args)


def _log(error: Exception) -> None:
    """Log our bug: we are a guest in this process, and never raise one."""
    if not isinstance(error, Abandoned):
        log.error("this is a bug of llmpt; the download takes the ordinary path", exc_info=error)


def _on_our_thread(step: Callable[..., T], *args: Any) -> T | None:
    try:
        return step(*args)
    except Exception as error:  # noqa: BLE001 - no signal handler of the program's runs here
        _log(error)
        return None


class Apart:
    """The steps of one download that may wait for something, one after the other, on threads of their own."""

    def __init__(self) -> None:
        self._last: Errand[Any] | None = None

    def do(self, step: Callable[..., T], *args: Any) -> T | None:
        """Do a step; None as `guarded` says. What the program raises meanwhile ends the step, and goes through."""
        errand: Errand[T | None] = Errand(functools.partial(_on_our_thread, step, *args))
        self._last = errand
        return errand.run()

    def afterwards(self, step: Callable[[], object]) -> None:
        """Do `step` when nothing of the last one runs any more, whatever the program raises."""
        last = functools.partial(_on_our_thread, step)
        if self._last is not None and self._last.afterwards(last):
            return
        errand = Errand(last)
        try:
            errand.run()
        except BaseException:
            if errand.is_void:
                last()
            raise
