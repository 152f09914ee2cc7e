"""What the command line wants of huggingface_hub: download a snapshot, and say in a sentence why it could not.

The classes of the library's errors have moved between its versions; their names have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmpt.core.errors import LlmptError
from llmpt.core.repo import RepoRef

_REASONS = (
    ("GatedRepoError", "is gated: ask for access on its page, then log in with `hf auth login`"),
    ("DisabledRepoError", "has been disabled on the Hub"),
    ("RepositoryNotFoundError", "is not on the Hub, or is private: look at the spelling, or log in with `hf auth login`"),
    ("RevisionNotFoundError", "has no such revision; name a branch, a tag or a commit"),
    ("OfflineModeIsEnabled", "is not asked for: HF_HUB_OFFLINE is set"),
    ("LocalEntryNotFoundError", "cannot be had: the Hub does not answer, and this machine has no copy; see `llmpt doctor`"),
    ("EntryNotFoundError", "has no such file"),
    ("HFValidationError", "is not the name of a repo: write it as owner/name"),
)


def snapshot(
    ref: RepoRef, *, revision: str | None, include: Sequence[str], exclude: Sequence[str], local_dir: Path | None
) -> Path:
    """Call `snapshot_download`, unmodified but for the hook that may be in place; return the folder.

    `include` and `exclude` are patterns of paths. Raises `LlmptError` with what to do about it.
    """
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            ref.id,
            repo_type=ref.type,
            revision=revision,
            allow_patterns=list(include) or None,
            ignore_patterns=list(exclude) or None,
            local_dir=local_dir,
        )
    except Exception as error:  # the library's own, of any of its versions; nothing of ours runs outside the guarded hook
        raise LlmptError(reason(ref, error)) from error
    return Path(folder)


def reason(ref: RepoRef, error: Exception) -> str:
    """Say in a sentence why `ref` could not be downloaded."""
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return f"{ref}: {error.strerror}" + (f": {error.filename}" if error.filename else "")
    names = [kind.__name__ for kind in type(error).__mro__]
    known = next((text for name, text in _REASONS if name in names), None)
    if known is not None:
        return f"{ref} {known}"
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"{ref} was not downloaded: {said}"
