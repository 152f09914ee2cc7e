"""The hook's door: every start of this Python calls `start`, so it costs next to nothing and never raises.

llmpt.pth does so up to Python 3.14 (once, though a virtual environment's site reads it twice); from 3.15 on llmpt.start
does, which then takes the place of the line in llmpt.pth (PEP 829). Nothing is patched until the program itself imports
`huggingface_hub.file_download`: a finder waits for that one name, lets the other finders find it, has the patch applied
right after the module was executed, and leaves.
"""

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

TARGET = "huggingface_hub.file_download"
OFF = ("0", "false", "no", "off")


class Finder:
    """Waits in `sys.meta_path` for the import of `TARGET`."""

    def __init__(self) -> None:
        self._asking: set[int] = set()  # threads that are in find_spec: another finder may ask all of them, too

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name != TARGET or get_ident() in self._asking:
            return None
        self._asking.add(get_ident())
        try:
            for finder in list(sys.meta_path):
                find_spec = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find_spec(name, path, target) if find_spec else None
                if spec is not None:
                    if spec.loader is not None:
                        _patch_after_exec(spec.loader)
                    return spec
        finally:
            self._asking.discard(get_ident())
        return None


def _patch_after_exec(loader: "Loader") -> None:
    execute = loader.exec_module

    def exec_module(module: "ModuleType") -> None:
        execute(module)
        if waiting():  # not if disable_p2p() was called in the meantime
            cancel()
            _install(module)

    try:
        loader.exec_module = exec_module  # type: ignore[method-assign]
    except AttributeError:
        pass  # a loader without a place for it: no hook, and the import goes on


def _install(module: "ModuleType") -> None:
    try:
        from llmpt.hook import patch

        patch.install(module)
    except Exception:  # a user's program is starting: it must not end because of us
        import logging

        logging.getLogger("llmpt").exception("the hook could not be installed; downloads take the ordinary path")


_finder = Finder()


def start() -> None:
    """Let downloads of this Python go through llmpt, unless HF_USE_P2P=0. Calling it again changes nothing."""
    if os.environ.get("HF_USE_P2P", "").strip().lower() not in OFF:
        arm()


def arm() -> None:
    """Patch huggingface_hub as soon as it is there, which may be now."""
    loaded = sys.modules.get(TARGET)
    if loaded is not None:
        _install(loaded)
    elif not waiting():
        sys.meta_path.insert(0, _finder)


def cancel() -> None:
    """Wait no longer."""
    try:
        sys.meta_path.remove(_finder)
    except ValueError:
        pass  # it was not waiting


def waiting() -> bool:
    return _finder in sys.meta_path
