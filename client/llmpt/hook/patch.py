"""The patch of huggingface_hub: a thin door in front of `Download`.

Three functions of `huggingface_hub.file_download` know what is being downloaded, and one, `_download_to_tmp_and_move`,
moves the bytes; all are looked up as globals of that module, in every version since 0.23, so replacing these names reaches
every caller, whatever it imported before. The first three only note, per call, what was asked and what the Hub answered;
the last one tries the LAN and otherwise calls the original with its own arguments.

Invisible, reversible, idempotent, and it fails open: nothing of ours may hurt the program that is our host.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any, TypeVar

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName, SettingError
from llmpt.hook.call import Call
from llmpt.hook.download import Download
from llmpt.hook.library import BYTES, METADATA, OUTER, Chunks, asked_as_nobody, constant, unfit
from llmpt.hook.summary import Summary, write_to_stderr
from llmpt.link.client import AgentClient
from llmpt.settings import ClientSettings
from llmpt.tracker.blobs import BlobHttp

log = logging.getLogger("llmpt")
T = TypeVar("T")

MEASURED_BYTES = 1 << 20  # smaller files say more about round trips than about rates

_lock = threading.Lock()
_hook: Hook | None = None
_call: ContextVar[Call | None] = ContextVar("llmpt_call", default=None)


def enable(*, tracker: str | None = None) -> bool:
    """Import huggingface_hub and patch it; see `llmpt.enable_p2p`."""
    settings = _read_settings(tracker)
    if not settings.use_p2p:
        log.info("not enabled: HF_USE_P2P=0")
        return False
    try:
        from huggingface_hub import file_download
    except ImportError as error:
        log.warning("llmpt is not enabled: huggingface_hub cannot be imported (%s)", error)
        return False
    return install(file_download, settings=settings)


def install(file_download: ModuleType, *, settings: ClientSettings | None = None) -> bool:
    """Put the hook in place, all of it or nothing; True when it is in place, also from before.

    `settings` None: they are read at the first download, so that importing huggingface_hub costs nothing more.
    """
    global _hook
    with _lock:
        if _hook is not None and _hook.in_place():
            if settings is not None:
                _hook.use(settings)
            return True
        if reason := unfit(file_download):
            log.warning("llmpt is inert with huggingface_hub %s: %s; downloads take the ordinary path", _version(), reason)
            return False
        _hook = Hook(file_download)
        if settings is not None:
            _hook.use(settings)
        _hook.put()
        log.debug("in place, huggingface_hub %s", _version())
        return True


def disable() -> None:
    """Give huggingface_hub its own functions back, the same objects."""
    global _hook
    with _lock:
        if _hook is not None:
            _hook.take_back()
            _hook = None


def is_enabled() -> bool:
    return _hook is not None and _hook.in_place()


class Hook:
    """The four wrappers, and what they share. Wrappers that a program kept pass straight through after `take_back`."""

    def __init__(self, file_download: ModuleType) -> None:
        self._library = file_download
        self._active = False
        self._originals = {name: getattr(file_download, name) for name in (BYTES, METADATA, *OUTER)}
        self._signature = inspect.signature(self._originals[BYTES])
        self._wrappers = {
            BYTES: self._wrap(BYTES, self._bytes),
            METADATA: self._wrap(METADATA, self._metadata),
            **{name: self._wrap(name, functools.partial(self._outer, name)) for name in OUTER},
        }
        self._chunks = Chunks(file_download)
        self._settings: ClientSettings | None = None
        self._settings_read = False
        self._link: AgentClient | None = None
        self._blobs: BlobHttp | None = None
        self._summary = Summary(self._say)
        self._hub_rate_bytes_s = 0

    def use(self, settings: ClientSettings | None) -> None:
        """Take these settings from now on; None: none can be had, everything takes the ordinary path."""
        self._settings = self._link = self._blobs = None
        if settings is not None and settings.use_p2p and settings.tracker is not None:
            self._link = AgentClient(settings, environ=os.environ)
            self._blobs = BlobHttp(settings.tracker, stall_timeout_s=settings.stall_timeout_s)
            self._settings = settings
        self._settings_read = True

    def in_place(self) -> bool:
        return self._active and all(getattr(self._library, name) is wrapper for name, wrapper in self._wrappers.items())

    def put(self) -> None:
        self._active = True
        for name, wrapper in self._wrappers.items():
            setattr(self._library, name, wrapper)
        self._chunks.put()

    def take_back(self) -> None:
        self._active = False
        for name, wrapper in self._wrappers.items():
            if getattr(self._library, name) is wrapper:  # else another library has wrapped ours, and passes through it
                setattr(self._library, name, self._originals[name])
        self._chunks.take_back()
        self._guarded(self._summary.close)

    def _wrap(self, name: str, replacement: Callable[..., Any]) -> Callable[..., Any]:
        original = self._originals[name]

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return replacement(*args, **kwargs) if self._active else original(*args, **kwargs)

        return wrapper

    def _outer(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Note whose download this is; when the library is done with it, tell the agent where the file lies."""
        call = self._guarded(self._new_call, kwargs)
        if call is None:
            return self._originals[name](*args, **kwargs)
        token = _call.set(call)
        self._guarded(self._summary.begin)
        try:
            result = self._originals[name](*args, **kwargs)
            if call.served is not None and isinstance(result, str):
                self._guarded(call.served.report, result)
            return result
        finally:
            self._guarded(call.fetching.close)
            self._guarded(self._summary.end)
            _call.reset(token)

    def _metadata(self, *args: Any, **kwargs: Any) -> Any:
        """Note what the Hub says about this very file: (url, etag, commit, size[, xet], error)."""
        asked = {name: copy.copy(value) if name == "headers" else value for name, value in kwargs.items()}  # it changes them
        result = self._originals[METADATA](*args, **kwargs)
        call = _call.get()
        if call is not None and isinstance(result, tuple) and len(result) >= 5 and result[-1] is None:
            call.etag, call.commit, call.size = str(result[1]), str(result[2]), result[3] or 0
            call.anonymous = self._guarded(asked_as_nobody, asked, result, os.environ) is True
        return result

    def _bytes(self, *args: Any, **kwargs: Any) -> Any:
        original, call = self._originals[BYTES], _call.get()
        download = None if call is None else self._guarded(self._new_download, call, args, kwargs)
        if call is None or download is None:
            started = time.monotonic()
            result = original(*args, **kwargs)
            self._guarded(self._count, call, started)
            return result
        try:
            if self._guarded(download.run):
                return None
            same_bar = "tqdm_class" in self._signature.parameters
            continued = self._guarded(functools.partial(download.fall_back, same_bar=same_bar))
            if continued is not None:
                kwargs = {**self._signature.bind(*args, **kwargs).arguments, "tqdm_class": continued}
                args = ()
            started = time.monotonic()
            result = original(*args, **kwargs)
            self._guarded(download.discard)
            self._guarded(self._count, call, started, download.begun)
            return result
        finally:
            self._guarded(download.close)

    def _new_call(self, asked: dict[str, Any]) -> Call | None:
        """Return None when nothing of this process goes to the LAN."""
        if not self._settings_read:
            self._read_settings()
        if self._settings is None:
            return None
        endpoint = asked.get("endpoint") or constant(self._library, "ENDPOINT", "")
        call = Call(asked["repo_type"], asked["repo_id"], asked["revision"], asked["filename"], endpoint=str(endpoint))
        call.is_server = call.endpoint.rstrip("/") == self._settings.tracker
        names = (call.repo_type, call.repo_id, call.revision, call.filename)
        return call if all(isinstance(name, str) for name in names) else None

    def _read_settings(self) -> None:
        try:
            self.use(_read_settings(None))
        except SettingError as error:
            log.warning("%s; downloads take the ordinary path", error)
            self.use(None)

    def _new_download(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Download | None:
        """Return None for a file that the agent is not asked for."""
        settings, link, blobs = self._settings, self._link, self._blobs
        asked = self._signature.bind(*args, **kwargs).arguments
        if settings is None or link is None or blobs is None or settings.tracker is None:
            return None
        if asked["destination_path"].exists() and not asked["force_download"]:
            call.size = 0  # there already: nothing will be downloaded
            return None
        if call.size < max(1, link.min_blob_bytes) or asked["expected_size"] not in (None, call.size):
            return None
        try:
            Etag(call.etag)
        except InvalidName as error:
            log.debug("%s: %s", call.filename, error)
            return None
        if asked.get("etag", call.etag) != call.etag:
            return None
        return Download(
            call,
            library=self._library,
            asked=asked,
            link=link,
            blobs=blobs,
            summary=self._summary,
            tracker=settings.tracker,
            ordinary_rate_bytes_s=self._hub_rate_bytes_s,
        )

    def _count(self, call: Call | None, started: float, after_lan: bool = False) -> None:
        """Note what came the ordinary way since `started` (monotonic seconds), and how fast."""
        if call is None:
            return
        self._summary.from_hub(call.size, after_lan=after_lan, is_server=call.is_server)
        if call.size >= MEASURED_BYTES:
            rate = call.size / max(time.monotonic() - started, 0.001)
            self._hub_rate_bytes_s = int((self._hub_rate_bytes_s + rate) / 2 if self._hub_rate_bytes_s else rate)

    def _say(self, line: str) -> None:
        if self._settings is not None and not self._settings.quiet:
            write_to_stderr(line)

    def _guarded(self, step: Callable[..., T], *args: Any) -> T | None:
        """Do one step of ours; whatever goes wrong in it, the library's own way goes on."""
        try:
            return step(*args)
        except Exception:  # we are a guest in this process: our bugs are logged, never raised
            log.exception("this is a bug of llmpt; the download takes the ordinary path")
            return None


def _read_settings(tracker: str | None) -> ClientSettings:
    environ = dict(os.environ)
    if tracker is not None:
        environ["LLMPT_TRACKER"] = tracker
    return ClientSettings.read(environ)


def _version() -> str:
    return str(getattr(sys.modules.get("huggingface_hub"), "__version__", "of unknown version"))
