"""The patch of huggingface_hub: a thin door in front of `LibraryDownloads`.

Three functions of `huggingface_hub.file_download` know what is being downloaded, and one, `_download_to_tmp_and_move`,
moves the bytes; all are looked up as globals of that module, in every version since 0.23, so replacing these names reaches
every caller, whatever it imported before. The first three only note, per call, what was asked and what the Hub answered;
the last one tries the LAN and otherwise calls the original with its own arguments.

Invisible, reversible, idempotent, and it fails open: nothing of ours may hurt the program that is our host, and what that
raises is none of ours.
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
from types import ModuleType
from typing import Any

from llmpt.core import request_id
from llmpt.hook import lines
from llmpt.hook.call import Call, HubDisagrees, Proof, current
from llmpt.hook.download import LibraryDownload
from llmpt.hook.downloads import Connect, LibraryDownloads
from llmpt.hook.lan import Lan
from llmpt.hook.library import BYTES, METADATA, MOVE, OUTER, Chunks, unfit
from llmpt.hook.questions.door import HubDoor
from llmpt.hook.questions.sessions import Sessions, module_of
from llmpt.hook.questions.sessions import unfit as unfit_sessions
from llmpt.hook.steps import Apart, bounded, guarded
from llmpt.settings import ClientSettings

log = logging.getLogger("llmpt")

_lock = threading.Lock()
_hook: Hook | None = None


def enable(*, tracker: str | None = None) -> bool:
    """Import huggingface_hub and patch it; see `llmpt.enable_p2p`."""
    settings = ClientSettings.read({**os.environ, **({} if tracker is None else {"LLMPT_TRACKER": tracker})})
    if not settings.use_p2p:
        log.info("not enabled: HF_USE_P2P=0")
        return False
    try:
        from huggingface_hub import file_download
    except ImportError as error:
        log.warning("llmpt is not enabled: huggingface_hub cannot be imported (%s)", error)
        return False
    return install(file_download, settings=settings)


def install(file_download: ModuleType, *, settings: ClientSettings | None = None, connect: Connect = Lan.of) -> bool:
    """Put the hook in place, all of it or nothing; True when it is in place, also from before.

    `settings` None: they are read at the first download, so that importing huggingface_hub costs nothing more. `connect`
    makes the way to the LAN from them.
    """
    global _hook
    with _lock:
        if _hook is not None and _hook.in_place():
            if settings is not None:
                _hook.downloads.use(settings)
            return True
        if reason := unfit(file_download):
            log.warning("llmpt is inert with huggingface_hub %s: %s; downloads take the ordinary path", _version(), reason)
            return False
        _hook = Hook(file_download, connect)
        if settings is not None:
            _hook.downloads.use(settings)
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
    """The five wrappers. Wrappers that another library kept pass straight through after `take_back`."""

    def __init__(self, file_download: ModuleType, connect: Connect) -> None:
        self._library = file_download
        self._active = False
        self._originals = {name: getattr(file_download, name) for name in (BYTES, METADATA, MOVE, *OUTER)}
        self._signature = inspect.signature(self._originals[BYTES])
        self._wrappers = {
            BYTES: self._wrap(BYTES, self._bytes),
            METADATA: self._wrap(METADATA, self._metadata),
            MOVE: self._wrap(MOVE, self._move),
            **{name: self._wrap(name, functools.partial(self._outer, name)) for name in OUTER},
        }
        self._chunks = Chunks(file_download)
        self.downloads = LibraryDownloads(file_download, connect)
        self._sessions = self._met_sessions()

    def in_place(self) -> bool:
        return self._active and all(getattr(self._library, name) is wrapper for name, wrapper in self._wrappers.items())

    def put(self) -> None:
        self._active = True
        for name, wrapper in self._wrappers.items():
            setattr(self._library, name, wrapper)
        self._chunks.put()
        lines.put()
        if self._sessions is not None:
            guarded(self._sessions.put)

    def take_back(self) -> None:
        self._active = False
        for name, wrapper in self._wrappers.items():
            if getattr(self._library, name) is wrapper:  # else ours was wrapped in turn, and is passed through
                setattr(self._library, name, self._originals[name])
        self._chunks.take_back()
        lines.take_back()
        if self._sessions is not None:
            guarded(self._sessions.take_back)
        guarded(self.downloads.summary.close)

    def _met_sessions(self) -> Sessions | None:
        """Return the door in the library's sessions; None where this version makes them in a way that is not known."""
        http = module_of(self._library.__package__)
        reason = unfit_sessions(http)
        if http is None or reason:
            log.info("questions go to the Hub as ever with huggingface_hub %s: %s", _version(), reason)
            return None
        constants = getattr(http, "constants", http)
        offline = getattr(http, "OfflineModeIsEnabled", ConnectionError)
        return Sessions(http, HubDoor(constants, self.downloads.router, self.downloads.answered, offline).wrap)

    def _wrap(self, name: str, replacement: Callable[..., Any]) -> Callable[..., Any]:
        original = self._originals[name]

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return replacement(*args, **kwargs) if self._active else original(*args, **kwargs)

        return wrapper

    def _outer(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Note which download this is; when the library is done with it, tell the agent where the file lies."""
        if not self.downloads.settings_read:
            Apart().do(self.downloads.read_settings)
        call = guarded(self.downloads.call, kwargs)
        if call is None:
            return self._originals[name](*args, **kwargs)
        try:
            return self._downloaded(call, name, *args, **kwargs)
        except HubDisagrees as error:  # what the LAN has said of the file is forgotten: the Hub says all of it now
            log.warning("%s: once more, since %s", call.filename, error)
            again = guarded(self.downloads.call, kwargs)
            return self._downloaded(call if again is None else again, name, *args, **kwargs)

    def _downloaded(self, call: Call, name: str, *args: Any, **kwargs: Any) -> Any:
        token, asked = current.set(call), request_id.put(call.request_id)
        guarded(self.downloads.summary.begin)
        try:
            result = self._originals[name](*args, **kwargs)
            if call.served is not None and isinstance(result, str):
                Apart().do(call.served.report, result)
            return result
        finally:
            guarded(call.fetching.close)
            guarded(self.downloads.summary.end)
            current.reset(token)
            request_id.take_back(asked)

    def _metadata(self, *args: Any, **kwargs: Any) -> Any:
        """Note what the Hub says about this very file."""
        asked = {name: copy.copy(value) if name == "headers" else value for name, value in kwargs.items()}  # it changes them
        result = self._originals[METADATA](*args, **kwargs)
        if (call := current.get()) is not None:
            guarded(self.downloads.note, call, asked, result)
        return result

    def _bytes(self, *args: Any, **kwargs: Any) -> Any:
        """Have the file from the LAN, else from the original with its own arguments."""
        original, call = self._originals[BYTES], current.get()
        if call is None:
            return original(*args, **kwargs)
        download = bounded(self._wanted, call, args, kwargs)
        if download is None:
            started = time.monotonic()
            result = original(*args, **kwargs)
            guarded(self.downloads.count, call, started)
            return result
        apart = Apart()
        try:
            if apart.do(self.downloads.run, download):
                return None
            apart.do(download.fall_back)
            hand_over = functools.partial(download.hand_over_bar, same="tqdm_class" in self._signature.parameters)
            continued = guarded(hand_over, of_a_callback=True)
            if continued is not None:
                kwargs = {**self._signature.bind(*args, **kwargs).arguments, "tqdm_class": continued}
                args = ()
            started = time.monotonic()
            result = original(*args, **kwargs)
            apart.do(download.discard)
            guarded(functools.partial(self.downloads.count, call, started, after_lan=download.begun))
            return result
        finally:
            guarded(download.close_bar, of_a_callback=True)
            apart.afterwards(download.close)

    def _move(self, *args: Any, **kwargs: Any) -> Any:
        """Move what the Hub has given to its place, if it is what the LAN has said."""
        call, original = current.get(), self._originals[MOVE]
        if call is not None and call.proof is Proof.AT_THE_MOVE:
            apart = Apart()
            words = apart.do(self.downloads.doubt, call, inspect.signature(original).bind(*args, **kwargs).args[0])
            if words is not None:
                raise HubDisagrees(words)
        return original(*args, **kwargs)

    def _wanted(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LibraryDownload | None:
        arguments = self._signature.bind(*args, **kwargs).arguments if args else kwargs  # the library names them all
        return self.downloads.download(call, arguments)


def _version() -> str:
    return str(getattr(sys.modules.get("huggingface_hub"), "__version__", "of unknown version"))
