"""llmpt: Hugging Face models and datasets from your LAN's own swarm.

Installing llmpt and setting LLMPT_TRACKER is enough; a program that wants to decide for itself calls `enable_p2p`.
Every Python of the environment imports this module at its start, so it loads nothing until it is asked to.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llmpt.tracker.client import TrackerClient
    from llmpt.tracker.torrents import Torrent

    __version__: str

__all__ = ["Torrent", "TrackerClient", "__version__", "disable_p2p", "enable_p2p", "is_enabled"]


def enable_p2p(*, tracker: "str | None" = None) -> bool:
    """Let downloads of this process that go through huggingface_hub take their bytes from the LAN.

    `tracker` (e.g. `http://server:8000`) stands in for LLMPT_TRACKER, for this process only. Returns False, with a log
    line that says why, when huggingface_hub is missing or unknown to us, when HF_USE_P2P=0, and on Windows. Calling it
    again changes nothing but the tracker. Raises `llmpt.core.errors.SettingError` when a setting cannot be used.
    """
    from llmpt.hook import patch

    return patch.enable(tracker=tracker)


def disable_p2p() -> None:
    """Give huggingface_hub its own functions back. What was imported or begun in between goes on working."""
    from llmpt import _boot
    from llmpt.hook import patch

    _boot.cancel()
    patch.disable()


def is_enabled() -> bool:
    """Say whether downloads of this process go through llmpt, or will once huggingface_hub is imported."""
    import sys

    from llmpt import _boot

    patch = sys.modules.get("llmpt.hook.patch")
    return _boot.waiting() or (patch is not None and bool(patch.is_enabled()))


if not TYPE_CHECKING:  # a type checker must go on noticing names that don't exist

    def __getattr__(name):
        if name in ("Torrent", "TrackerClient"):
            from llmpt.tracker import client as tracker_client

            return getattr(tracker_client, name)
        if name == "__version__":
            from importlib.metadata import version

            return version("llmpt")
        raise AttributeError(f"module 'llmpt' has no attribute {name!r}")
