"""What to do about a problem that a page shows: by the words that its kind has in it. docs/troubleshooting.md says more."""

from __future__ import annotations

_KINDS = (  # the first that fits
    (
        ("no space", "disk or database is full", "disk is full", "database or disk is full"),
        "Make room on that disk; nothing needs a restart.",
    ),
    (("LimitNOFILE", "nofile"), "Raise the number of files that the seeder's container may open (ulimits, LimitNOFILE)."),
    (("cannot be written", "readonly", "read-only"), "Look at the owner and the mount of that folder: the server writes there."),
    (
        ("inode number changed",),
        "A mount option of that file system keeps inode numbers stable (docs/troubleshooting.md); all goes on being seeded.",
    ),
    (("set aside as",), "Nothing is lost: each file is read once more. The .bad file may be removed."),
    (
        ("other content", "another content", "content is not", "not what its name says", "is not its content", "etag"),
        "A disk that rots, or a download that was cut: remove that file from the cache, and fetch it again.",
    ),
    (("the tracker refused it",), "Look whether this seeder's token names that repo: llmpt-tracker token list."),
    (("is not of this commit",), "A program has changed the cache: remove that snapshot, and fetch it again."),
    (
        ("dangling", "leads nowhere", "no such file", "does not exist", "is missing"),
        "Fetch the repo again, or remove what is left.",
    ),
    (("Permission denied", "cannot be read", "may not be read"), "Let the seeder's user (PUID, PGID) read that file."),
    (
        ("told to come back", "as many requests", "asked for more"),
        "Look which machine asks for so much; when it is right, raise the limit (docs/limits.md).",
    ),
    (("cannot be used",), "Name a folder of its own in LLMPT_DATA, or close that one to others (chmod 700)."),
)
_ELSE = "The server's log says more; docs/troubleshooting.md lists what is known."


def remedy(reason: str) -> str:
    """Return what an operator does about it, in a sentence."""
    said = reason.lower()
    return next((what for words, what in _KINDS if any(word.lower() in said for word in words)), _ELSE)
