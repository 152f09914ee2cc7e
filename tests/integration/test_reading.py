"""Where reading takes a token: what a machine gets with one, with another, without any, and after it was revoked."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from llmpt.core import bencode
from tests.support.lan import Lan
from tests.support.waiting import eventually

OPEN, SECRET = b"open" * (1 << 19), b"more" * (1 << 19)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan"), LLMPT_REQUIRE_READ_TOKEN="1") as lan:
        for name, content in (("acme/open", OPEN), ("acme/secret", SECRET)):
            lan.hub.add(name, {"model.bin": content, "config.json": b"{}"})
            lan.mirror(name)
            lan.seeded(name)
        yield lan


def command(lan: Lan, *arguments: str) -> str:
    line = [sys.executable, "-m", "llmpt_tracker", *arguments]
    return subprocess.run(line, env=lan.tracker.environ, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def status(url: str, token: str | None = None) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def announce(lan: Lan, key: str, info_hash: str) -> str:
    """Announce a torrent; return why that was refused."""
    raw = "".join(f"%{info_hash[at : at + 2]}" for at in range(0, 40, 2))
    url = f"{lan.tracker.announce_url}{key}?info_hash={raw}&peer_id={'p' * 20}&port=6999&left=1"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = bencode.decode(answer.read())
    assert isinstance(found, dict)
    return str(found.get(b"failure reason", b""), "utf-8")


def test_a_machine_with_a_grant_downloads_from_the_swarm_and_seeds_and_one_with_another_does_not(lan: Lan) -> None:
    token = command(lan, "token", "create", "--scope", "read", "--repos", "acme/open")
    lan.hub.forget()
    with lan.machine("ann") as ann:
        config = ann.root / ".config/llmpt/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'LLMPT_TOKEN = "{token}"\n')  # an agent is given none by the environment of its starter
        ann.download("acme/open")
        assert lan.hub.gets("model.bin") == 0
        (torrent,) = lan.torrents("acme/open")
        eventually(lambda: lan.torrents("acme/open")[0].seeders == 2, what="the machine to announce that it seeds")
        ann.download("acme/secret")
        assert lan.hub.gets("model.bin") == 1  # from the Hub, with no help of the LAN
        number = next(line.split()[0] for line in command(lan, "token", "list").splitlines() if "acme/open" in line)
        found = lan.catalogue.get(f"/api/v1/torrents/{torrent.info_hash}")
        assert found["seeders"] == 2
        command(lan, "token", "revoke", number)
        assert status(f"{lan.tracker.url}/api/v1/torrents", token) == 401


def test_an_invitation_carries_the_right_to_read(lan: Lan) -> None:
    code = command(lan, "invite", "--read", "acme/*")
    lan.hub.forget()
    with lan.machine("bob") as bob:
        bob.run("-m", "llmpt", "join", lan.tracker.url, "--code", code)
        bob.download("acme/secret")
        assert lan.hub.gets("model.bin") == 0
        eventually(lambda: lan.torrents("acme/secret")[0].seeders == 2, what="the machine to announce that it seeds")
        before = {line.split()[0] for line in command(lan, "token", "list").splitlines() if "acme/*" in line}
        again = command(lan, "invite", "--read", "acme/*")
        bob.run("-m", "llmpt", "join", lan.tracker.url, "--code", again)
        for number in before:
            command(lan, "token", "revoke", number)
        lan.tracker.restart()  # which has forgotten the peers, and refuses the keys of that token
        bob.download("acme/open")
        eventually(lambda: lan.torrents("acme/secret")[0].seeders == 2, timeout_s=60, what="it to announce with the other token")


def test_a_client_of_the_hub_reads_with_its_token(lan: Lan) -> None:
    token = command(lan, "token", "create", "--scope", "read", "--repos", "acme/secret")
    with lan.machine("cleo", HF_ENDPOINT=lan.tracker.url, HF_TOKEN=token, HF_USE_P2P="0") as cleo:
        cleo.download("acme/secret")
        refused = cleo.run("-c", "import huggingface_hub as h; h.hf_hub_download('acme/open', 'model.bin')", check=False)
    assert "RepositoryNotFoundError" in refused.stderr
