"""Whose an exception is that comes up in a step of ours: ours, which fails open, or the program's, which goes through.

A program raises into our frames from signal handlers, from progress bars, or out of another thread (PyThreadState_SetAsyncExc).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from types import CodeType, FrameType, TracebackType

from llmpt.core.errors import LlmptError

# What we, or the library for us, call: an error that one of these raises says something about a download.
_CALLED = sys.stdlib_module_names | {
    "builtins", "anyio", "certifi", "filelock", "h11", "h2", "hf_transfer", "hf_xet", "httpcore", "httpcore2", "httpx", "httpx2",
    "huggingface_hub", "idna", "llmpt", "platformdirs", "requests", "socksio", "tomli", "tqdm", "urllib3",
}  # fmt: skip


def is_foreign(error: BaseException, *, of_a_callback: bool = False) -> bool:
    """Whether the program has raised it, not we and not what we call.

    `of_a_callback`: the step calls code of the program's, so that an ordinary error of Python's may come from there, too, or out
    of what that calls in turn.
    """
    if isinstance(error, LlmptError):
        return False
    if not isinstance(error, Exception) or not _is_called(type(error).__module__):
        return True
    frames = list(_frames(error.__traceback__))
    if any(map(_is_signal_handler, frames, frames[1:])):
        return True
    return of_a_callback and not all(_is_called(_module(frame)) for frame in frames)


def _frames(trace: TracebackType | None) -> list[FrameType]:
    found = []
    while trace is not None:
        found.append(trace.tb_frame)
        trace = trace.tb_next
    return found


def _is_signal_handler(caller: FrameType, frame: FrameType) -> bool:
    """Whether Python called `frame` for a signal: it is handed the frame that was interrupted, which it may have let go of."""
    values = list(frame.f_locals.values())
    has_caller = any(value is caller or (type(value) is tuple and any(one is caller for one in value)) for value in values)
    return has_caller or frame.f_code in _signal_handlers()


def _signal_handlers() -> Iterator[CodeType]:
    """Yield the code of the program's signal handlers."""
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if isinstance(handler, partial):
            handler = handler.func
        for callee in (handler, getattr(handler, "__call__", None)):  # noqa: B004 - a function, a method; an object that can be called
            if isinstance(code := getattr(callee, "__code__", None), CodeType):
                yield code


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_called(module: object) -> bool:
    return str(module).partition(".")[0] in _CALLED
