"""Where settings come from: the environment, the user's config file, /etc/llmpt/config.toml, in this order.

Only the standard library is needed to import this: the hook reads settings inside other people's programs.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpt.core.errors import SettingError
from llmpt.core.settings import no_home, path, read

ETC_CONFIG = Path("/etc/llmpt/config.toml")


def user_config_file(environ: Mapping[str, str]) -> Path:
    """Return where the user's own config file is, e.g. ~/.config/llmpt/config.toml."""
    import platformdirs  # not at the top: the hook reads settings in processes that want no third-party import early

    if explicit := environ.get("XDG_CONFIG_HOME"):
        return Path(explicit) / "llmpt" / "config.toml"
    try:
        return platformdirs.user_config_path("llmpt") / "config.toml"
    except RuntimeError:  # a user without a home
        return ETC_CONFIG


def sources(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Merge /etc/llmpt/config.toml, the user's config file and the environment (the last one wins) into names → text.

    Keys in the files are the names of the variables, e.g. `LLMPT_TRACKER = "http://server:8000"`.
    """
    merged: dict[str, str] = {}
    for _, layer in reversed(_layers(os.environ if environ is None else environ)):
        merged.update(layer)
    return merged


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """A setting as people see it.

    `name`: the environment variable.
    `text`: its value as text.
    `place`: where that text comes from.
    `doc`: what the setting means.
    `problem`: why the value cannot be used; empty when it can.
    """

    name: str
    text: str
    place: str
    doc: str
    problem: str


def origins(cls: type, environ: Mapping[str, str]) -> list[Origin]:
    """Say of every setting that `cls` declares what it is and where that was said."""
    layers = _layers(environ)
    found = []
    for meta in (field.metadata for field in dataclasses.fields(cls) if field.metadata):
        name = meta["name"]
        place, text = next(((place, layer[name]) for place, layer in layers if layer.get(name, "").strip()), ("default", ""))
        problem = ""
        try:
            read(meta, {name: text})
        except SettingError as error:
            problem = str(error)
        found.append(Origin(name, text.strip() or meta["default"], place, meta["doc"], problem))
    return found


def _layers(environ: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return what is set where, the place that wins first."""
    files = (user_config_file(environ), ETC_CONFIG)
    said = {name: text for name, text in environ.items() if text.strip()}
    return [("environment", said), *((str(path), _read_toml(path)) for path in files)]


def _read_toml(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise SettingError(f"{path} is a folder, where llmpt's settings are expected: remove it") from None
    except UnicodeDecodeError:
        raise SettingError(
            f"{path} is not UTF-8, so llmpt's settings in it cannot be read: write it anew, or remove it"
        ) from None
    except OSError:
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is not TOML: {error}") from None
    return {name: _as_text(value) for name, value in table.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def data_folder(value: str) -> Path:
    """Read the folder of a server's state; nothing means the user's own data folder, e.g. ~/.local/share/llmpt."""
    import platformdirs  # not at the top, as above

    if value:
        return path(value)
    try:
        return platformdirs.user_data_path("llmpt")
    except RuntimeError:
        raise ValueError(f"{no_home()}; name a folder, or set HOME") from None
