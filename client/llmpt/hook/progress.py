"""The progress bars of huggingface_hub, driven as the library drives them itself.

The library's own factory makes the bar, so its rules about terminals, log levels and switched-off bars hold. Making one
may add to the total of a bar that other downloads share (snapshot_download), so it is made once, when bytes flow; and when
we fall back, what was shown is taken back and the library goes on with the very same bar: it ends at n == total.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from llmpt.core import errand
from llmpt.hook.foreign import is_foreign

log = logging.getLogger("llmpt")


class LibraryBar:
    """The bar of one file of `total` bytes. Nothing appears before the first `show`.

    It is moved on the thread that waits for our errand, so that what a bar of the program raises is raised there. A bar that
    has met a bug of ours moves no more.
    """

    def __init__(self, file_download: ModuleType, *, filename: str, total: int, tqdm_class: Any = None) -> None:
        self._library = file_download
        self._title = filename if len(filename) <= 40 else f"(…){filename[-40:]}"
        self._total = total
        self._tqdm_class = tqdm_class
        self._context: Any = None
        self._bar: Any = None
        self._shown = 0
        self._broken = False

    def show(self, done_bytes: int) -> None:
        """Move the bar to `done_bytes`, backwards too."""
        errand.tell(lambda: self._try(lambda: self._show(done_bytes)))

    def _try(self, step: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            step()
        except Exception as error:  # the program's goes through; a bar of ours is not worth a download
            if is_foreign(error, of_a_callback=True):
                raise
            self._broken = True
            log.exception("this is a bug of llmpt; the progress of a download is shown no more")

    def _show(self, done_bytes: int) -> None:
        if self._bar is None:
            self._context = self._make()
            self._bar = self._context.__enter__()
        change = done_bytes - self._shown
        if change:
            self.advance(change)
            if callable(update_transfer := getattr(self._bar, "update_transfer", None)):
                update_transfer(change)

    def advance(self, change_bytes: float) -> None:
        """Move the bar by `change_bytes`, without a word to the bar of transferred bytes."""
        self._shown += int(change_bytes)
        self._bar.update(change_bytes)

    def finish(self) -> None:
        errand.tell(lambda: self._try(self._finish))

    def _finish(self) -> None:
        self._show(self._total)
        self.close()

    def close(self) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None

    def hand_over(self, *, keep: bool) -> type | None:
        """Take back what was shown; return a class that, for the library, makes this very bar.

        None when nothing was shown, or, without `keep`, when this bar ends here.
        """
        if self._bar is None or self._broken:
            return None
        self._show(0)
        if not keep:
            self.close()
            return None
        bar = self

        class Continued:
            """What the library takes for a new bar."""

            def __init__(self, *_: Any, initial: float | None = 0, **__: Any) -> None:
                bar.resume_at(int(initial or 0))

            def __enter__(self) -> Continued:
                return self

            def __exit__(self, *_: object) -> None:
                bar.close()

            def close(self) -> None:
                bar.close()

            def update(self, n: float | None = 1) -> None:
                bar.advance(n or 0)

            def __getattr__(self, name: str) -> Any:
                return getattr(bar._bar, name)

        return Continued

    def resume_at(self, done_bytes: int) -> None:
        """Move to where the library says that it resumes."""
        if done_bytes != self._shown:
            self.advance(done_bytes - self._shown)

    def _make(self) -> Any:
        level = self._library.logger.getEffectiveLevel()
        looks = {"desc": self._title, "total": self._total, "initial": 0, "name": "huggingface_hub.http_get"}
        if factory := getattr(self._library, "_get_progress_bar_context", None):  # since 0.30
            if "tqdm_class" in inspect.signature(factory).parameters:  # since 1.1
                looks["tqdm_class"] = self._tqdm_class
            return factory(log_level=level, **looks)
        disable = True if level == logging.NOTSET else None  # None: off where there is no terminal
        return self._library.tqdm(unit="B", unit_scale=True, disable=disable, **looks)


def _free_bars() -> None:
    """Free the locks of tqdm's bars in a forked child: a thread of the parent's that drew a bar has one still, and here no thread
    lets it go, so that the child's next bar would wait for ever."""
    std = sys.modules.get("tqdm.std")
    kinds = [] if std is None else [std.tqdm]
    for kind in kinds:
        kinds += kind.__subclasses__()
        own = vars(kind).get("_lock")
        for lock in getattr(own, "locks", (own,)):
            free = getattr(lock, "_at_fork_reinit", None)  # as the standard library frees its own
            if free is None:  # there is none, or it is one of processes, which the parent lets go
                continue
            if lock.acquire(blocking=False):
                lock.release()
            else:
                free()


os.register_at_fork(after_in_child=_free_bars)
