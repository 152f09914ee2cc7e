"""For which repos the LAN has answered on this host, and which of these its answers are not trusted any more.

The programs of a user note for which commits the LAN has answered; the agent holds one of them a day against the Hub's own word,
and notes what it found. Notes are files in the user's state, so that either side needs the other to be there. Where a note
cannot be made, or read, everything goes on as it was.

What huggingface_hub keeps for ever of what it was told (which files a commit has, which it has not) is removed from the caches
of this user's programs, once the LAN's word on the repo turned out to be wrong: the next program asks the Hub.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput
from llmpt.core.repo import Commit, RepoRef
from llmpt.link import state

FOLDER, PLACES = "answered", "places"
USED, HELD, WRONG = "used", "held", "wrong"
MAX_NOTES = 2000
MAX_NOTE_BYTES = 4096
AGAIN_S = 24 * 3600.0
_AT_FAULT = (OSError, ValueError, TypeError, KeyError, InvalidInput)


@dataclass(frozen=True, slots=True)
class Answered:
    """A commit for which the LAN has answered in place of the Hub at `endpoint`; `path`: the file that is to be looked at, if one
    is."""

    endpoint: str
    repo: RepoRef
    commit: str
    path: str = ""

    @property
    def name(self) -> str:
        """The note's name, the same for all commits of the repo."""
        return _name(self.endpoint, self.repo)


def folder(environ: Mapping[str, str]) -> Path | None:
    """Return where notes lie; None where this user has no home for them."""
    home = state.at_home(environ)
    return None if home is None else home / FOLDER


def note(environ: Mapping[str, str], answered: Answered) -> None:
    """Note that the LAN answers for a commit; a program does it once for each."""
    found = folder(environ)
    if found is None:
        return
    with suppress(*_AT_FAULT):
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = found / f"{answered.name}.{USED}"
        if not path.exists() and sum(1 for _ in found.iterdir()) >= MAX_NOTES:
            return
        _write(path, _document(answered))


def doubt(environ: Mapping[str, str], answered: Answered, words: str) -> None:
    """Trust the LAN's answers for the repo no more, as a program has seen that they differ, and have the agent look at it."""
    found = folder(environ)
    if found is None:
        return
    with suppress(*_AT_FAULT):
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
        (found / f"{answered.name}.{HELD}").unlink(missing_ok=True)
        _write(found / f"{answered.name}.{USED}", _document(answered))
        _say_wrong(found, answered, words)


def note_place(environ: Mapping[str, str], answered: Answered, library: Path) -> None:
    """Note where huggingface_hub keeps what it was told of a commit: in the repo's folder of a cache, or in one in a `local_dir`.

    The oldest of too many notes make room.
    """
    found = folder(environ)
    if found is None:
        return
    with suppress(*_AT_FAULT):
        places = found / PLACES
        places.mkdir(mode=0o700, parents=True, exist_ok=True)
        which = hashlib.sha256(f"{answered.commit}\0{library}".encode(errors="surrogateescape")).hexdigest()[:32]
        path = places / f"{answered.name}-{which}"
        if not path.exists():
            others = sorted(places.iterdir(), key=lambda other: other.stat().st_mtime)
            for other in others[: max(0, len(others) - MAX_NOTES + 1)]:
                other.unlink(missing_ok=True)
        _write(path, {"commit": answered.commit, "folder": str(library)})


def distrusted(environ: Mapping[str, str], endpoint: str, repo: RepoRef) -> bool:
    """Say whether the LAN's answers for a repo were found to differ from the Hub's own: then the Hub is asked. Costs one look at
    a folder."""
    found = folder(environ)
    with suppress(OSError):
        return found is not None and (found / f"{_name(endpoint, repo)}.{WRONG}").exists()
    return False


def due(found: Path, *, now: float) -> list[Answered]:
    """Return what was noted and not held against the Hub within a day, a commit for each repo."""
    wanted = []
    for path in sorted(found.glob(f"*.{USED}"))[:MAX_NOTES]:
        with suppress(*_AT_FAULT):
            age_s = now - path.with_suffix(f".{HELD}").stat().st_mtime
            if 0 <= age_s < AGAIN_S:
                continue
        with suppress(*_AT_FAULT):
            said = read_json(path.read_bytes(), most_bytes=MAX_NOTE_BYTES)
            one = Answered(str(said["endpoint"]), RepoRef(*said["repo"]), Commit(said["commit"]).value, str(said.get("path", "")))
            if path.stem == one.name:
                wanted.append(one)
    return wanted


def held(found: Path, answered: Answered, *, wrong: str | None) -> None:
    """Note that a commit was held against the Hub now; `wrong`: how it differs, so that the repo's answers are not trusted
    any more."""
    with suppress(OSError):
        if wrong is not None:
            _say_wrong(found, answered, wrong)
        (found / f"{answered.name}.{USED}").unlink(missing_ok=True)  # it is made anew when it is used again
        _write(found / f"{answered.name}.{HELD}", {})


def wrongs(found: Path) -> list[str]:
    """Return in words which repos are not trusted, and why."""
    said = []
    for path in sorted(found.glob(f"*.{WRONG}")):
        with suppress(*_AT_FAULT):
            told = read_json(path.read_bytes(), most_bytes=MAX_NOTE_BYTES)
            said.append(f"{told['repo']}: {told['wrong']} (remove {path} to trust the LAN again)")
    return said


def _document(answered: Answered) -> dict[str, object]:
    return {**asdict(answered), "repo": [answered.repo.type, answered.repo.id]}


def _say_wrong(found: Path, answered: Answered, words: str) -> None:
    said = {"repo": str(answered.repo), "commit": answered.commit, "wrong": words, "at": time.time()}
    _write(found / f"{answered.name}.{WRONG}", said)
    _forget(found, answered)


def _forget(found: Path, answered: Answered) -> None:
    """Remove what huggingface_hub keeps of the repo's commits since the LAN has said so. Files that it has stay: their content is
    that of their etags."""
    for path in (found / PLACES).glob(f"{answered.name}-*"):
        with suppress(*_AT_FAULT):
            told = read_json(path.read_bytes(), most_bytes=MAX_NOTE_BYTES)
            commit, place = Commit(told["commit"]).value, Path(told["folder"])
            (place / "trees" / f"{commit}.json").unlink(missing_ok=True)
            shutil.rmtree(place / ".no_exist" / commit, ignore_errors=True)
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _name(endpoint: str, repo: RepoRef) -> str:
    return hashlib.sha256(f"{endpoint.rstrip('/')}\0{repo.type}\0{repo.id}".encode()).hexdigest()[:32]


def _write(path: Path, said: Mapping[str, object]) -> None:
    made = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        made.write_text(json.dumps(said))
        made.chmod(0o600)
        made.replace(path)
    except OSError:
        made.unlink(missing_ok=True)
        raise
