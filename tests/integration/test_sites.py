"""Two sites: one server is the upstream of the other, for what it gives to all and for what it grants by a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.lan import Lan
from tests.support.waiting import eventually

FILES = {"model.safetensors": os.urandom(2_000_000), "config.json": b"{}", "README.md": b"# none\n"}


def get(site: Lan, path: str) -> bytes:
    """Ask a site's server as curl does, which follows where it is sent."""
    with urllib.request.urlopen(f"{site.tracker.url}/{path}", timeout=30) as answer:
        return bytes(answer.read())


def downloaded(site: Lan, repo: str) -> dict[str, bytes]:
    return {path: get(site, f"{repo}/resolve/main/{path}") for path in FILES}


def behind(site: Lan, root: Path, *, repos: str = "", token: str = "") -> Lan:
    """Return a site whose server fetches from another one's."""
    return Lan(root, LLMPT_REPOS=repos, HF_TOKEN=token, LLMPT_UPSTREAM=site.tracker.url, HF_ENDPOINT=site.tracker.url)


def test_what_one_site_has_or_fetches_the_other_has_once_and_keeps(tmp_path: Path) -> None:
    with Lan(tmp_path / "a", upstream=True) as first, behind(first, tmp_path / "b") as second:
        first.hub.add("acme/model", FILES)
        first.hub.repos["model", "acme/model"].about = {"pipeline_tag": "fill-mask", "library_name": "transformers"}
        assert downloaded(second, "acme/model") == FILES
        assert first.hub.bytes_sent == sum(map(len, FILES.values())), "once over the Internet"
        told = json.loads(get(second, "api/models/acme/model"))
        assert (told["pipeline_tag"], told["library_name"]) == ("fill-mask", "transformers")
        eventually(lambda: second.answers_for("acme/model"), timeout_s=30, what="the second site to have all of it")
        first.tracker.stop()
        assert downloaded(second, "acme/model") == FILES


@pytest.mark.slow  # what is asked with a token is in tests/contract/test_upstream.py
def test_what_a_site_grants_by_a_token_is_fetched_with_it_and_nothing_else(tmp_path: Path) -> None:
    with Lan(tmp_path / "a", LLMPT_REQUIRE_READ_TOKEN="1") as first:
        for repo in ("acme/granted", "acme/other"):
            first.hub.add(repo, FILES)
            first.mirror(repo)
            first.seeded(repo)
        command = [sys.executable, "-m", "llmpt_tracker", "token", "create", "--scope", "read", "--repos", "acme/granted"]
        made = subprocess.run(command, env=first.tracker.environ, check=True, capture_output=True, text=True, timeout=60)
        with behind(first, tmp_path / "b", repos="acme/*", token=made.stdout.strip()) as second:
            assert downloaded(second, "acme/granted") == FILES
            with pytest.raises(urllib.error.HTTPError) as no:
                get(second, "api/models/acme/other")
            assert (no.value.code, no.value.headers["X-Error-Code"]) == (404, "RepoNotFound")
            no.value.close()
