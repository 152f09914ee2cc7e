"""How settings are read: once, into frozen values, with errors that name the setting.

A value comes from the environment, else the user's config file, else /etc/llmpt/config.toml (Jupyter and systemd have no
shell). Each role declares its own in a frozen dataclass whose fields are made by `setting`; a test holds the table in
docs/settings.md to those declarations.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llmpt.core.errors import InvalidInput, SettingError
from llmpt.core.networks import Address, CidrSet, parse_address

T = TypeVar("T")

_IN_NO_PATTERN = re.compile(r"[^A-Za-z0-9._/*?\[\]!-]")
QUOTES = "\"'`"  # Compose's `- NAME="value"`, and files of `docker run --env-file`, hand them on


def setting(name: str, parse: Callable[[str], Any], default: str, doc: str) -> Any:
    """Declare a field: its environment variable, how its text is read, the default as text, one line for docs/settings.md.

    `parse` raises `ValueError` with a sentence that says what would be right.
    """
    return dataclasses.field(metadata={"name": name, "parse": parse, "default": default, "doc": doc})


def declared(cls: type) -> list[tuple[str, str, str]]:
    """Return (name, default, doc) of every setting that a settings class declares."""
    meta = [field.metadata for field in dataclasses.fields(cls)]
    return [(m["name"], m["default"], m["doc"]) for m in meta if m]


def load(cls: type[T], source: Mapping[str, str], **overrides: Any) -> T:
    """Build `cls` from `source` (names → text) and `overrides` (field names → values). Raises `SettingError`."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in overrides:
            values[field.name] = overrides[field.name]
        elif field.metadata:
            values[field.name] = read(field.metadata, source)
    return cls(**values)


def read(meta: Mapping[str, Any], source: Mapping[str, str]) -> Any:
    """Read one declared setting (its metadata) from `source`; raise `SettingError` naming it."""
    text = source.get(meta["name"], "").strip() or meta["default"]
    shown = without_password(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES:
        plain = shown.strip(QUOTES)
        raise SettingError(
            f"{meta['name']}={shown} cannot be used: the quotes are part of the value; write {meta['name']}={plain}"
        )
    try:
        return meta["parse"](text)
    except ValueError as error:
        raise SettingError(f"{meta['name']}={shown!r} cannot be used: {error}") from None


def without_password(text: str) -> str:
    """Return a value as people may read it: of a URL all but its password."""
    return re.sub(r"(://[^/:@\s]*):[^/\s]*@", r"\1:********@", text)


def hub_cache(source: Mapping[str, str]) -> str:
    """Find the Hub cache with huggingface_hub's own precedence."""
    for name, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if value := source.get(name, "").strip():
            return f"{value}/{below}" if below else value
    return "~/.cache/huggingface/hub"


# How the text of a setting is read. Each raises ValueError with what would be right.


def text(value: str) -> str:
    return value


def optional_text(value: str) -> str | None:
    return value or None


def path(value: str) -> Path:
    """Read a path; `~` and `$VAR` are expanded."""
    try:
        return Path(os.path.expandvars(value)).expanduser()
    except RuntimeError:
        raise ValueError(f"{no_home()}; write a path without ~, or set HOME") from None


def optional_path(value: str) -> Path | None:
    """Read a path; nothing means none."""
    return path(value) if value else None


def no_home() -> str:
    """Say in words why there is no home folder: in containers, mostly."""
    return f"user {os.getuid()} has no entry in passwd, and HOME is not set"


def url(value: str) -> str | None:
    """Read the address of a server: http:// or https://, a host, perhaps a port; nothing means none."""
    if not value:
        return None
    match = re.fullmatch(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::(\d{1,5}))?(?:/[^\s?#]*)?", value)
    if not match or int(match[1] or 0) > 65535:
        raise ValueError("write it as http://server:8000")
    return value.rstrip("/")


def flag(value: str) -> bool:
    """Read 1/0, true/false, yes/no, on/off."""
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("write 1 or 0")


def number(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of numbers in [low, high]."""

    def read(value: str) -> float:
        try:
            result = float(value)
        except ValueError:
            result = float("nan")
        if not low <= result <= high:
            raise ValueError(f"write a number between {low:g} and {high:g}")
        return result

    return read


def integer(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers in [low, high]."""

    def read(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", value) or not low <= int(value) <= high:
            raise ValueError(f"write a whole number between {low} and {high}")
        return int(value)

    return read


port = integer(0, 65535)


def choice(*values: str) -> Callable[[str], str]:
    """Make a reader of one of a few words."""

    def read(value: str) -> str:
        if value.lower() not in values:
            raise ValueError(f"write {' or '.join(values)}")
        return value.lower()

    return read


log_form = choice("text", "json")  # how a process writes what it logs


def size(value: str) -> int:
    """Read a number of bytes: 1048576, 1M, 50MiB, 1.5G (powers of 1024)."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", value.lower())
    if not match:
        raise ValueError("write a number of bytes, such as 1048576, 512K or 50M")
    return int(float(match[1]) * 1024 ** (" kmgt".index(match[2] or " ")))


def cidrs(value: str) -> CidrSet:
    try:
        return CidrSet.parse(value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def addresses(value: str) -> tuple[str, ...]:
    """Read literal addresses separated by commas or blanks; IPv6 with or without brackets."""
    found = tuple(str(_literal(item)) for item in value.replace(",", " ").split())
    if not found:
        raise ValueError("write the addresses to listen on, such as 0.0.0.0 or 192.168.1.10,[::1]")
    return tuple(dict.fromkeys(found))


def literal_address(value: str) -> str | None:
    """Read one literal address; nothing means none."""
    return str(_literal(value)) if value else None


def _literal(item: str) -> Address:
    try:
        return parse_address(item.strip("[]"))
    except ValueError:
        raise ValueError(f"{item!r} is not an IP address (a name cannot stand here)") from None


def patterns(value: str) -> tuple[str, ...]:
    """Read names or patterns separated by commas or blanks."""
    if any(mark in value for mark in QUOTES):
        raise ValueError(f"the quotes are part of the value; write {''.join(mark for mark in value if mark not in QUOTES)}")
    return tuple(value.replace(",", " ").split())


def repo_patterns(value: str) -> tuple[str, ...]:
    """Read patterns of repos, separated by commas or blanks."""
    found = patterns(value)
    if odd := _IN_NO_PATTERN.search("".join(found)):
        raise ValueError(f"{odd[0]!r} is in no repo's name; write org/* or datasets/org/name, separated by commas")
    return found
