"""A backup is one file with all that makes this server the one it is: the catalogue, its key, and the seeder's token.

It is a tar archive of mode 0600. Its first member, `backup.json`, says of what llmpt it is, and has the size and the SHA-256 of
each other one. Both ways, a file is there whole or not at all: it is written under another name, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from llmpt.core.documents import read_json
from llmpt.core.errors import StateUnavailable
from llmpt_tracker.database import copies, schema
from llmpt_tracker.serve import folder_lock
from llmpt_tracker.serve.parent import make_data_folder
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.version import VERSION

FORMAT = 1
CONTENTS = "backup.json"
DATABASE = "tracker.db"
_MAX_CONTENTS = 1 << 20
_MAX_SECRET = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Backup:
    """What a backup says of itself: `schema` is the step that its database is at, `size_bytes` the size of that."""

    made_at: datetime
    llmpt: str
    schema: str
    size_bytes: int


def write(settings: TrackerSettings, target: Path, *, overwrite: bool, now: datetime) -> Backup:
    """Put a backup into the file `target`, also while the tracker runs. Raises `StateUnavailable`."""
    database = database_file(settings)
    if not overwrite and os.path.lexists(target):
        raise StateUnavailable(f"{target} is there already: name another file, or say --overwrite")
    if not database.is_file():
        raise StateUnavailable(f"there is nothing to back up: {database} is not there; LLMPT_DATA says where the state lies")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sentences(target.parent, f"{database} cannot be backed up"))
        stack.enter_context(folder_lock.shared(settings.data))
        copy, draft = stack.enter_context(_drafts(target))
        copies.copy(database, copy)
        copies.check(copy)
        made = Backup(now, VERSION, copies.revision(copy), copy.stat().st_size)
        _pack(draft, {DATABASE: copy} | {name: file for name, file in _secrets(settings).items() if file.is_file()}, made)
        draft.replace(target)
        _sync_folder(target.parent)
    return made


def restore(settings: TrackerSettings, source: Path, *, now: datetime) -> tuple[Backup, list[Path]]:
    """Put back what is in the backup `source`; return what it says of itself, and the new names of the files that were there.

    Nothing is touched before all of it was found whole. Raises `StateUnavailable`, also when a tracker runs, and `SettingError`.
    """
    places = {**_secrets(settings), DATABASE: database_file(settings)}  # the database last: with it the backup is in force
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sentences(settings.data, f"{source} cannot be restored"))
        archive = stack.enter_context(_Archive(source))  # first: a name that was mistyped makes no folder
        make_data_folder(settings.data)
        stack.enter_context(folder_lock.alone(settings.data))
        with _unpacked(archive, places) as (made, drafts):
            copies.check(drafts[DATABASE], thoroughly=True)
            if not schema.is_known(made.schema) or copies.revision(drafts[DATABASE]) != made.schema:
                raise StateUnavailable(
                    f"{source} was made by a newer llmpt ({made.llmpt}, its schema is {made.schema!r}): update the tracker"
                )
            suffix = f".before-{now:%Y%m%dT%H%M%SZ}"
            return made, [aside for name in drafts if (aside := _put(drafts[name], places[name], suffix)) is not None]


def database_file(settings: TrackerSettings) -> Path:
    """Return the file of the database. Raises `StateUnavailable` when it is in no file."""
    url = make_url(settings.database_location)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise StateUnavailable(
            f"the catalogue is in another database ({url.render_as_string(hide_password=True)}): back it up with that one's own"
            f" tools, as pg_dump, and keep {settings.key_file} with it, by which this server is known"
        )
    return Path(url.database)


def _secrets(settings: TrackerSettings) -> dict[str, Path]:
    return {"server.key": settings.key_file, "publish.token": settings.token_file}


@contextlib.contextmanager
def _drafts(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield two names beside `target` at which nothing is, and see to it that nothing stays there."""
    label = secrets.token_hex(4)
    found = target.with_name(f".{target.name}.{label}.db"), target.with_name(f".{target.name}.{label}")
    try:
        yield found
    finally:
        for one in found:
            one.unlink(missing_ok=True)


def _pack(archive: Path, files: dict[str, Path], made: Backup) -> None:
    listed = {name: {"size": file.stat().st_size, "sha256": _sha256(file)} for name, file in files.items()}
    contents = {"format": FORMAT, "llmpt": made.llmpt, "schema": made.schema, "made_at": made.made_at.isoformat()}
    text = json.dumps({**contents, "files": listed}, indent=1).encode()
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_member(CONTENTS, len(text), made), io.BytesIO(text))
            for name, file in files.items():
                with file.open("rb") as opened:
                    tar.addfile(_member(name, file.stat().st_size, made), opened)
        out.flush()
        os.fsync(out.fileno())


def _member(name: str, size: int, made: Backup) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(made.made_at.timestamp())
    return member


class _Archive(io.FileIO):
    """A tar archive that is read in small parts: of headers that are longer than memory should hold nothing is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _CHUNK:
            raise ValueError("it has a header without end")
        return super().read(size)


@contextlib.contextmanager
def _unpacked(archive: _Archive, places: dict[str, Path]) -> Iterator[tuple[Backup, dict[str, Path]]]:
    """Yield what a backup says of itself, and its files as they lie, whole and synced, beside where each belongs.

    Raises `StateUnavailable` when something is missing, or is not what it was.
    """
    label = secrets.token_hex(4)
    drafts: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        try:
            tar = stack.enter_context(tarfile.open(fileobj=archive, mode="r:"))
            made, listed = _contents(tar)
            members = {one.name: one for one in islice(tar, 1 + len(places))}
            for name in (name for name in places if name in listed):
                drafts[name] = places[name].with_name(f".{places[name].name}.{label}")
                stack.callback(drafts[name].unlink, missing_ok=True)
                _unpack(tar, members[name], drafts[name], listed[name])
        except (tarfile.TarError, ValueError, LookupError, TypeError, EOFError, RecursionError) as error:
            raise StateUnavailable(f"{archive.name} is no backup of llmpt-tracker, or is damaged: {error}") from error
        yield made, drafts


def _contents(tar: tarfile.TarFile) -> tuple[Backup, dict[str, dict[str, Any]]]:
    first = tar.next()
    opened = tar.extractfile(first) if first is not None and first.name == CONTENTS else None
    if opened is None:
        raise ValueError(f"it does not begin with {CONTENTS}")
    said = read_json(opened.read(_MAX_CONTENTS), most_bytes=_MAX_CONTENTS)
    if said["format"] != FORMAT:
        raise StateUnavailable(f"it is a backup of format {said['format']}, and this llmpt knows {FORMAT}: update the tracker")
    listed: dict[str, dict[str, Any]] = said["files"]
    return Backup(datetime.fromisoformat(said["made_at"]), said["llmpt"], said["schema"], listed[DATABASE]["size"]), listed


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, draft: Path, listed: dict[str, Any]) -> None:
    name = member.name
    opened = tar.extractfile(member) if member.isreg() and not member.issparse() else None  # none is larger than the archive
    if opened is None or member.size != listed["size"] or (name != DATABASE and member.size > _MAX_SECRET):
        raise ValueError(f"{name} is not as long as it was")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        shutil.copyfileobj(opened, out, _CHUNK)
        out.flush()
        os.fsync(out.fileno())
    if _sha256(draft) != listed["sha256"]:
        raise ValueError(f"{name} is not what it was")


def _put(draft: Path, place: Path, suffix: str) -> Path | None:
    """Put a file in the place of another one, in one step; return the new name of that, None without one or at the same."""
    aside = place.with_name(place.name + suffix)
    had = os.path.lexists(place)
    copies.settle(place, aside)
    if had and place.is_file() and _sha256(place) == _sha256(draft):
        return None
    if had:
        try:
            os.link(place, aside)
        except OSError:  # a folder, or a file system without such links
            place.replace(aside)
    draft.replace(place)
    _sync_folder(place.parent)
    return aside if had else None


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _sentences(folder: Path, what: str) -> Iterator[None]:
    """Raise `StateUnavailable` with a sentence for what a disk or SQLite says no with."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if "disk is full" in reason or "No space left" in reason:
            reason = f"the disk of {folder} is full: make room there, and try again"
        elif isinstance(error, OSError) and error.filename:
            reason = f"{error.filename}: {reason}"
        raise StateUnavailable(f"{what}: {reason}") from error
