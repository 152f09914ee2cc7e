"""The tracker's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt.core.networks import parse_address
from llmpt_tracker.database.sessions import Database
from llmpt_tracker.settings import TrackerSettings


def read(**environ: str) -> TrackerSettings:
    return TrackerSettings.read({"XDG_CONFIG_HOME": "/nonexistent", **environ})


def test_the_defaults_serve_a_lan_and_nobody_else() -> None:
    settings = read(LLMPT_DATA="/srv/llmpt")
    assert (settings.http_port, settings.announce_port, settings.bind) == (8000, 6969, ("0.0.0.0", "::"))
    assert parse_address("192.168.1.5") in settings.peer_cidrs
    assert parse_address("8.8.8.8") not in settings.peer_cidrs
    assert not settings.trusted_proxies
    assert settings.database_location == "sqlite:////srv/llmpt/tracker.db"
    assert settings.token_file == Path("/srv/llmpt/publish.token")
    assert settings.control_socket is None


def test_everything_can_be_set() -> None:
    settings = read(
        LLMPT_BIND="192.168.1.10, [fd00::1]",
        LLMPT_ADVERTISE_HOST="192.168.1.10",
        LLMPT_DATABASE_URL="postgresql+psycopg://u@h/d",
        LLMPT_MIN_BLOB_BYTES="512K",
        LLMPT_CONTROL_SOCKET="/run/x.sock",
        LLMPT_TOKEN_FILE="/secrets/publish.token",
    )
    assert settings.token_file == Path("/secrets/publish.token")
    assert settings.bind == ("192.168.1.10", "fd00::1")
    assert settings.advertise_host == "192.168.1.10"
    assert settings.database_location == "postgresql+psycopg://u@h/d"
    for url in ("postgres://u@h/d", "postgresql://u@h/d"):  # as people paste them; the driver is the one that the extra has
        assert read(LLMPT_DATABASE_URL=url).database_location == "postgresql+psycopg://u@h/d"
    assert settings.min_blob_bytes == 512 << 10
    assert settings.control_socket == Path("/run/x.sock")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LLMPT_HTTP_PORT", "80000"),
        ("LLMPT_BIND", "server"),
        ("LLMPT_BIND", ","),
        ("LLMPT_ADVERTISE_HOST", "server.lan"),
        ("LLMPT_PEER_CIDRS", "192.168.0.0/33"),
        ("LLMPT_DATABASE_URL", "/srv/tracker.db"),
        ("LLMPT_VALKEY_URL", "http://valkey"),
        ("LLMPT_VALKEY_URL", "valkey://valkey:many"),
        ("LLMPT_VALKEY_URL", "valkey://valkey/lab"),
    ],
)
def test_what_is_wrong_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=name):
        read(**{name: text})


@pytest.mark.parametrize(
    "text", ["valkey://v", "valkeys://me:pw@v:6379/2", "redis://:pw@[fd00::1]:6379", "unix:///run/v.sock?db=1"]
)
def test_a_valkey_is_named_in_the_ways_that_there_are(text: str) -> None:
    assert read(LLMPT_VALKEY_URL=text).valkey_url == text


@pytest.mark.parametrize("text", ["http://:secret@valkey", '"valkey://me:secret@valkey"', "valkey://me:sec@ret@valkey:no"])
def test_no_error_names_a_password(text: str) -> None:
    with pytest.raises(SettingError) as told:
        read(LLMPT_VALKEY_URL=text)
    assert "sec" not in str(told.value)


def test_a_database_with_a_port_that_is_none_is_one_sentence() -> None:
    with pytest.raises(SettingError, match="LLMPT_DATABASE_URL names no database: write postgresql://") as told:
        Database("postgresql+psycopg://me:secret@db:many/llmpt")
    assert "secret" not in str(told.value)
