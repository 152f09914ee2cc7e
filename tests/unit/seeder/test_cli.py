"""The command line: exit codes, and sentences for the operator."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llmpt_seeder import cli
from tests.support.cache_builder import CacheBuilder


@pytest.fixture
def runner(cache: CacheBuilder, tmp_path: Path) -> CliRunner:
    environ = {
        "HF_HUB_CACHE": str(cache.root),
        "LLMPT_DATA": str(tmp_path / "data"),
        "LLMPT_REPOS": "org/named,!org/excluded",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "XDG_CONFIG_HOME": str(tmp_path),
        "COLUMNS": "200",
    }
    return CliRunner(env=environ)


def test_scan_lists_every_repo_with_verdict_and_reason_and_writes_nothing(
    runner: CliRunner, cache: CacheBuilder, tmp_path: Path
) -> None:
    for name in ("org/named", "org/excluded", "org/unknown"):
        cache.repo(name).commit({"a": b"1234", "b": b"1234"}, refs=["main"])
    result = runner.invoke(cli.main, ["scan", "--dry-run", "--json"])
    assert result.exit_code == 0
    lines = {line["repo_id"]: line for line in json.loads(result.output)}
    assert {name: line["shared"] for name, line in lines.items()} == {
        "org/named": True,
        "org/excluded": False,
        "org/unknown": False,
    }
    assert (lines["org/named"]["files"], lines["org/named"]["size"], lines["org/named"]["revisions"]) == (2, 4, 1)
    assert "LLMPT_REPOS" in lines["org/unknown"]["reason"]
    assert not (tmp_path / "data").exists()


def test_scan_prints_a_table(runner: CliRunner, cache: CacheBuilder) -> None:
    cache.repo("org/named", "dataset").commit({"a": b"1"})
    result = runner.invoke(cli.main, ["scan", "--dry-run"])
    assert result.exit_code == 0
    assert "datasets/org/named" in result.output


def test_scan_shows_what_was_fetched_from_upstream_too(runner: CliRunner, cache: CacheBuilder, tmp_path: Path) -> None:
    fetched = CacheBuilder(tmp_path / "fetched")
    cache.repo("org/named").commit({"a": b"1"})
    fetched.repo("org/unknown").commit({"a": b"1"})
    said = runner.invoke(cli.main, ["scan", "--dry-run", "--json"], env={"LLMPT_MIRROR_CACHE": str(fetched.root)}).output
    assert {(line["cache"], line["repo_id"]) for line in json.loads(said)} == {
        (str(cache.root), "org/named"),
        (str(fetched.root), "org/unknown"),
    }
    table = runner.invoke(cli.main, ["scan", "--dry-run"], env={"LLMPT_MIRROR_CACHE": str(fetched.root)}).output
    assert "org/named" in table
    assert "org/unknown" in table


def test_scan_of_a_missing_cache_fails_and_says_what_to_do(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(cli.main, ["scan"], env={"HF_HUB_CACHE": str(tmp_path / "nothing")})
    assert result.exit_code == 1
    assert "HF_HUB_CACHE" in result.output


def test_run_with_a_missing_cache_fails_and_says_what_to_do(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(cli.main, ["run"], env={"HF_HUB_CACHE": str(tmp_path / "nothing")})
    assert result.exit_code == 1
    assert "HF_HUB_CACHE" in result.output


def test_a_wrong_setting_is_one_line(runner: CliRunner) -> None:
    result = runner.invoke(cli.main, ["scan"], env={"LLMPT_TRACKER": "nonsense"})
    assert result.exit_code == 1
    assert "LLMPT_TRACKER" in result.output


def test_health_without_a_seeder_fails(runner: CliRunner) -> None:
    result = runner.invoke(cli.main, ["health"])
    assert result.exit_code == 2
    assert "no seeder runs" in result.output


def test_without_its_extra_it_names_it() -> None:
    with pytest.raises(click.ClickException, match=r"pip install 'llmpt\[seeder\]'"):
        cli._need_extra(lambda name: None)
