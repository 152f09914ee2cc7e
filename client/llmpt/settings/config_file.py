"""The user's config file, changed one setting at a time: what else stands in it, comments included, stays as it is."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from llmpt.core.errors import SettingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def write(file: Path, name: str, value: str | None) -> bool:
    """Set `name` to `value` in the TOML `file`, or remove it (None); False when nothing had to be changed.

    The file appears whole or not at all. Raises `SettingError` when it is not TOML or cannot be written.
    """
    before = _read(file)
    after = _changed(before, name, value)
    if after == before:
        return False
    parsed = _parse(file, after)
    expected = {key: val for key, val in _parse(file, before).items() if key != name}
    if parsed != (expected if value is None else expected | {name: value}):
        raise SettingError(f"{file} is written in a way that cannot be changed from here; edit {name} in it yourself")
    _replace(file, after)
    return True


def _changed(text: str, name: str, value: str | None) -> str:
    lines = text.splitlines(keepends=True)
    table = next((number for number, line in enumerate(lines) if re.match(r"\s*\[", line)), len(lines))
    ours = re.compile(rf"""\s*(?:{name}|"{name}"|'{name}')\s*=""")
    at = next((number for number, line in enumerate(lines[:table]) if ours.match(line)), None)
    if at is not None:
        lines[at : at + 1] = [] if value is None else [_line(name, value)]
    elif value is not None:
        if table and not lines[table - 1].endswith("\n"):
            lines[table - 1] += "\n"
        lines.insert(table, _line(name, value))
    return "".join(lines)


def _line(name: str, value: str) -> str:
    return f"{name} = {json.dumps(value, ensure_ascii=False)}\n"  # a JSON string is a TOML basic string


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{file} cannot be read: {error}") from None


def _parse(file: Path, text: str) -> dict[str, object]:
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{file} is not TOML: {error}; correct or remove it first") from None


def _replace(file: Path, text: str) -> None:
    target = Path(os.path.realpath(file))  # a link into the user's dotfiles stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".config-", suffix=".toml")
        new = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            new.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
            new.replace(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingError(f"{file} cannot be written: {error.strerror}") from None
