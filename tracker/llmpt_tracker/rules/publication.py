"""What a publisher may say: the body of `POST /api/v1/publish`, parsed into values that are valid because they exist.

Everything is checked here that can be checked without the catalogue: syntax, names, paths, metainfo. Two paths that differ
only by case are accepted: the Hub's repos live on case-sensitive file systems and do hold such pairs (a workstation on
a case-insensitive one meets the same trouble without us). The same path twice, and a file that is also a folder, are not.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput
from llmpt.core.metainfo import MAX_BLOB_BYTES, Metainfo
from llmpt.core.repo import RepoRef, check_commit, check_path, check_ref
from llmpt_tracker.errors import Refused

MAX_PATH_BYTES = 2048
MAX_REFS = 1000
MAX_ABSENT = 10_000
MAX_CARD_BYTES = 64 << 10
SEEDER_ID = r"^[A-Za-z0-9._-]{1,64}$"
MODEL = TypeVar("MODEL", bound=BaseModel)

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FileBody(BaseModel):
    """One line of a manifest, as it is sent."""

    model_config = STRICT

    path: str
    size: int = Field(ge=0, le=MAX_BLOB_BYTES)
    etag: str
    lfs: bool
    here: bool = True


class PublishBody(BaseModel):
    """The JSON body of a publish: a manifest, torrents, or both."""

    model_config = STRICT

    repo_type: str | None = None
    repo_id: str | None = None
    commit: str | None = None
    refs: list[str] = Field(default=[], max_length=MAX_REFS)
    complete: bool = False
    files: list[FileBody] | None = None
    absent: list[str] = Field(default=[], max_length=MAX_ABSENT)
    card: dict[str, Any] | None = None
    torrents: list[str] = []
    seeder: str | None = Field(default=None, pattern=SEEDER_ID)
    anew: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file of a manifest.

    `size`: in bytes.
    `lfs`: whether the Hub keeps it outside git.
    `here`: whether the publisher has its bytes.
    """

    path: str
    size: int
    etag: Etag
    lfs: bool
    here: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one commit of a repo holds, or the part of it that the publisher knows.

    `complete`: `files`, with what was published before, is the whole listing.
    `absent`: paths that the Hub said not to have.
    `card`: the front matter of its README, as JSON.
    """

    repo: RepoRef
    commit: str
    refs: tuple[str, ...]
    complete: bool
    files: tuple[ManifestFile, ...]
    absent: tuple[str, ...]
    card: str | None


@dataclass(frozen=True, slots=True)
class Publication:
    """A publish that makes sense by itself.

    `seeder`: how the publisher calls itself, if it does.
    `anew`: what it had of that commit, and does not name now, it has no longer.
    `more`: a further part of the same manifest follows.
    """

    manifest: Manifest | None
    torrents: tuple[Metainfo, ...]
    seeder: str | None = None
    anew: bool = False
    more: bool = False


def read(body: bytes) -> Publication:
    """Read the body of a publish. Raises `Refused`: 400 when it is not the JSON that is asked for, 422 when what it says
    cannot be; the message names the first thing that is wrong."""
    parsed = parse_json(PublishBody, body)
    torrents = tuple(_torrent(index, text) for index, text in enumerate(parsed.torrents))
    if len({meta.etag for meta in torrents}) != len(torrents):
        raise Refused(422, "bad_metainfo", "two torrents of one publish name the same etag")
    manifest = _manifest(parsed)
    if manifest is None and not torrents:
        raise Refused(400, "bad_request", "nothing to publish: neither `files` nor `torrents`")
    if (parsed.anew or parsed.more) and (parsed.seeder is None or manifest is None):
        raise Refused(400, "bad_request", "`anew` and `more` are said of a manifest, by a `seeder` with a name")
    return Publication(manifest, torrents, parsed.seeder, parsed.anew, parsed.more)


def parse_json(model: type[MODEL], body: bytes) -> MODEL:
    """Read JSON into `model`; raise `Refused` (400) naming the field that is wrong."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(400, "bad_request", f"{where}: {first['msg']}" if where else first["msg"]) from None


def _torrent(index: int, text: str) -> Metainfo:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or not even ASCII
        raise Refused(422, "bad_metainfo", f"torrents.{index}: not base64") from None
    try:
        return Metainfo.parse(raw)
    except InvalidInput as error:
        raise Refused(422, "bad_metainfo", f"torrents.{index}: {error}") from None


def _manifest(body: PublishBody) -> Manifest | None:
    named = {"repo_type": body.repo_type, "repo_id": body.repo_id, "commit": body.commit, "files": body.files}
    missing = [name for name, value in named.items() if value is None]
    if len(missing) == len(named) and not (body.refs or body.complete or body.absent or body.card is not None):
        return None
    if missing:
        raise Refused(400, "bad_request", f"a manifest needs {', '.join(missing)} as well")
    try:
        repo = RepoRef(body.repo_type or "", body.repo_id or "")
        commit = check_commit(body.commit or "")
        refs = tuple(dict.fromkeys(check_ref(name) for name in body.refs))
    except InvalidInput as error:
        raise Refused(422, "bad_name", str(error)) from None
    files = tuple(_file(index, file) for index, file in enumerate(body.files or ()))
    if len({file.path for file in files}) != len(files):
        raise Refused(422, "bad_path", f"the path {_first_twice(file.path for file in files)!r} stands twice in the manifest")
    _refuse_folders([file.path for file in files])
    absent = tuple(dict.fromkeys(_path(f"absent.{index}", path) for index, path in enumerate(body.absent)))
    if both := {file.path for file in files}.intersection(absent):
        raise Refused(422, "bad_path", f"{min(both)!r} is a file of the manifest, and absent as well")
    return Manifest(repo, commit, refs, body.complete, files, absent, _card(body.card))


def _card(card: dict[str, Any] | None) -> str | None:
    if card is None:
        return None
    try:
        text = json.dumps(card, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except ValueError as error:
        raise Refused(422, "bad_card", f"card: {error}") from None
    if size > MAX_CARD_BYTES:
        raise Refused(422, "bad_card", f"a card of more than {MAX_CARD_BYTES} bytes")
    return text


def _path(where: str, path: str) -> str:
    try:
        if len(check_path(path).encode()) > MAX_PATH_BYTES:
            raise Refused(422, "bad_path", f"{where}: a path of more than {MAX_PATH_BYTES} bytes")
    except InvalidInput as error:
        raise Refused(422, "bad_path", f"{where}: {error}") from None
    return path


def _file(index: int, file: FileBody) -> ManifestFile:
    path = _path(f"files.{index}", file.path)
    try:
        etag = Etag(file.etag)
    except InvalidInput as error:
        raise Refused(422, "bad_etag", f"files.{index} ({file.path!r}): {error}") from None
    if file.lfs and not etag.is_sha256:
        raise Refused(422, "bad_etag", f"files.{index} ({file.path!r}): the etag of an LFS file is a SHA-256 (64 hex digits)")
    return ManifestFile(path, file.size, etag, file.lfs, file.here)


def _refuse_folders(paths: Collection[str]) -> None:
    """Raise `Refused` when one path is a folder of another."""
    files = set(paths)
    for path in paths:
        for folder in folders_of(path):
            if folder in files:
                raise as_folder(folder, path)


def folders_of(path: str) -> Iterator[str]:
    """Yield the folders of a file, the outermost first."""
    slash = path.find("/")
    while slash > 0:
        yield path[:slash]
        slash = path.find("/", slash + 1)


def as_folder(file: str, path: str) -> Refused:
    """Return what is said when a file is a folder of `path`."""
    return Refused(422, "bad_path", f"{file!r} is both a file and a folder of {path!r}")


def _first_twice(paths: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(path for path in paths if path in seen or seen.add(path))  # type: ignore[func-returns-value]
