"""A server in another one's place: at the address that was joined, with another key or certificate, or with none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.agent.directory import Directory
from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerUnavailable
from llmpt.identity.gate import joined
from llmpt.identity.hello import meet
from llmpt.identity.keys import ServerKey
from llmpt.net.authorities import Trust
from llmpt.tracker.blobs import BlobHttp
from llmpt.tracker.client import TrackerClient
from tests.support.certificates import Authority, digest
from tests.support.in_between import InBetween
from tests.support.machine import quiet_environment
from tests.support.tracker import TrackerProcess


@pytest.fixture(scope="module")
def trackers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TrackerProcess, TrackerProcess]]:
    """Ours, and another one."""
    root = tmp_path_factory.mktemp("servers")
    with TrackerProcess(root / "ours") as ours, TrackerProcess(root / "theirs") as theirs:
        yield ours, theirs


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "lab")


def fingerprint(tracker: TrackerProcess) -> str:
    return str(ServerKey.read(tracker.data / "server.key").public.fingerprint)


def environment(home: Path, **more: str) -> dict[str, str]:
    return quiet_environment() | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_RUNTIME_DIR": str(home)} | more


def llmpt(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    command, environ = [sys.executable, "-m", "llmpt", *arguments], environment(home, **more)
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def known(home: Path) -> list[dict[str, str]]:
    file = home / "llmpt" / "known-servers.json"
    found: list[dict[str, str]] = json.loads(file.read_bytes())["servers"] if file.exists() else []
    return found


def test_another_server_at_a_joined_address_is_not_asked(trackers: tuple[TrackerProcess, TrackerProcess], tmp_path: Path) -> None:
    ours, theirs = trackers
    with InBetween(ours.url) as place:
        done = llmpt(tmp_path, "join", place.url)
        assert done.returncode == 0, done.stderr
        assert fingerprint(ours) in done.stdout
        assert (tmp_path / "llmpt" / "known-servers.json").stat().st_mode & 0o777 == 0o600
        client = joined(place.url, "", environment(tmp_path))
        assert client.ping()
        place.to = theirs.url
        place.asked.clear()
        with pytest.raises(TrackerUnavailable, match="has another key"):
            joined(place.url, "", environment(tmp_path)).contact()
        assert all(path.startswith("/api/v1/hello") for path in place.asked)
        told = llmpt(tmp_path, "ls", LLMPT_TRACKER=place.url)
        assert (told.returncode, "Traceback" in told.stderr) == (1, False)
        assert "`llmpt join" in told.stderr
        again = llmpt(tmp_path, "join", place.url, "--code", "secret")
        assert again.returncode == 1
        assert f"--fingerprint {fingerprint(theirs)}" in again.stderr
        assert not [path for path in place.asked if "token" in path]
        meant = llmpt(tmp_path, "join", place.url, "--fingerprint", fingerprint(theirs))
        assert meant.returncode == 0, meant.stderr
        assert [one["fingerprint"] for one in known(tmp_path)] == [fingerprint(theirs)]


def test_a_server_that_shows_no_key_is_not_the_one_that_had_one(
    trackers: tuple[TrackerProcess, TrackerProcess], tmp_path: Path
) -> None:
    with InBetween(trackers[0].url) as place:
        assert llmpt(tmp_path, "join", place.url).returncode == 0
        place.to += "/blobs"  # where there is no hello
        with pytest.raises(TrackerUnavailable, match="shows no key"):
            joined(place.url, "", environment(tmp_path)).contact()


def test_a_key_that_the_server_does_not_hold_is_none(trackers: tuple[TrackerProcess, TrackerProcess], tmp_path: Path) -> None:
    ours, _ = trackers
    with InBetween(ours.url) as place:
        place.changed["/api/v1/hello"] = json.dumps(TrackerClient(ours.url).get("/api/v1/hello", {"nonce": "0" * 64})).encode()
        with pytest.raises(TrackerUnavailable, match="does not show that it holds its key"):
            meet(TrackerClient(place.url))
        assert llmpt(tmp_path, "join", place.url).returncode == 1
    assert known(tmp_path) == []


def test_join_takes_no_other_server_than_the_one_whose_fingerprint_was_given(
    trackers: tuple[TrackerProcess, TrackerProcess], tmp_path: Path
) -> None:
    ours, theirs = trackers
    done = llmpt(tmp_path, "join", theirs.url, "--fingerprint", fingerprint(ours))
    assert done.returncode == 1
    assert f"has the fingerprint {fingerprint(theirs)}, and not {fingerprint(ours)}" in done.stderr
    assert not (tmp_path / "llmpt" / "config.toml").exists()
    assert llmpt(tmp_path, "join", ours.url, "--fingerprint", fingerprint(ours).replace("-", "").upper()).returncode == 0


def test_the_server_signs_nothing_but_what_its_catalogue_says(trackers: tuple[TrackerProcess, TrackerProcess]) -> None:
    client = TrackerClient(trackers[0].url)
    path = f"/api/v1/repos/model/openai-community/gpt2/revisions/{'c0ffee' + '0' * 34}"
    for query in ({"signed": "1"}, {"signed": "1", "refs": "main"}):
        with pytest.raises(Exception, match=r"nothing of|no parameter"):
            client.get(path, query)
    with pytest.raises(Exception, match="nonce"):
        client.get("/api/v1/hello", {"nonce": '{"kind":"llmpt manifest 1"}'})


WRONG = ["expired", "wrong-name", "wrong-authority", "self-signed"]


def certificate(authority: Authority, kind: str) -> Path:
    if kind == "wrong-authority":
        return Authority(authority.folder, "other").certificate("other-leaf.pem")
    made = {"expired": {"days": -1}, "wrong-name": {"host": "elsewhere.example"}, "self-signed": {"self_signed": True}}
    return authority.certificate(f"{kind}.pem", **made.get(kind, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_certificate_ends_in_one_line_and_nothing_is_asked(
    trackers: tuple[TrackerProcess, TrackerProcess], authority: Authority, tmp_path: Path, kind: str
) -> None:
    with InBetween(trackers[0].url, certificate=certificate(authority, kind)) as place:
        trust = Trust(str(authority.file))
        with pytest.raises(TrackerUnavailable, match="its certificate does not count here"):
            TrackerClient(place.url, trust=trust).contact()
        with pytest.raises(TrackerUnavailable, match="its certificate does not count here"):
            BlobHttp(place.url, stall_timeout_s=1, trust=trust).locate(Etag("a" * 64))
        assert place.asked == []
        done = llmpt(tmp_path, "join", place.url, LLMPT_CA=str(authority.file))
        assert done.returncode == 1
        assert "no authority vouches for the certificate" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert known(tmp_path) == []


@pytest.mark.parametrize("name", ["LLMPT_CA", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_labs_own_authority_is_believed_where_it_is_named_and_only_there(
    trackers: tuple[TrackerProcess, TrackerProcess], authority: Authority, tmp_path: Path, name: str
) -> None:
    with InBetween(trackers[0].url, certificate=authority.certificate("right.pem")) as place:
        assert llmpt(tmp_path, "join", place.url).returncode == 1
        done = llmpt(tmp_path, "join", place.url, **{name: str(authority.file)})
        assert done.returncode == 0, done.stderr
        assert [(one["url"], one["certificate"]) for one in known(tmp_path)] == [(place.url, "")]


def test_a_certificate_that_was_pinned_is_the_only_one_that_counts(
    trackers: tuple[TrackerProcess, TrackerProcess], authority: Authority, tmp_path: Path
) -> None:
    pinned, other = certificate(authority, "self-signed"), authority.certificate("right.pem")
    with InBetween(trackers[0].url, certificate=pinned) as place:
        refused = llmpt(tmp_path, "join", place.url, "--certificate", digest(other))
        assert refused.returncode == 1
        done = llmpt(tmp_path, "join", place.url, "--certificate", digest(pinned))
        assert done.returncode == 0, done.stderr
        assert [one["certificate"] for one in known(tmp_path)] == [digest(pinned)]
        assert llmpt(tmp_path, "ls").returncode == 0, "it is pinned from then on"
    trust = Trust(str(authority.file), digest(pinned))
    with InBetween(trackers[0].url, certificate=other) as place:
        with pytest.raises(TrackerUnavailable, match="another one than it showed"):
            TrackerClient(place.url, trust=trust).contact()
        assert place.asked == []


def test_libtorrent_which_knows_authorities_alone_is_not_sent_to_a_certificate_that_was_pinned(
    trackers: tuple[TrackerProcess, TrackerProcess], authority: Authority
) -> None:
    etag, pinned = Etag("a" * 64), authority.certificate("right.pem")
    with InBetween(trackers[0].url, certificate=pinned) as place:
        place.changed[f"/blobs/{etag}"] = b"a file"
        believed = {Trust(str(authority.file)): f"{place.url}/blobs/{etag}", Trust(certificate=digest(pinned)): None}
        for trust, url in believed.items():
            assert Directory(TrackerClient(place.url, trust=trust), peer_port=7000).blob_url(etag) == url


def test_an_authority_that_cannot_be_read_is_no_reason_to_believe_anything(
    trackers: tuple[TrackerProcess, TrackerProcess], authority: Authority, tmp_path: Path
) -> None:
    with InBetween(trackers[0].url, certificate=authority.certificate("right.pem")) as place:
        with pytest.raises(TrackerUnavailable, match="cannot be used as an authority"):
            TrackerClient(place.url, trust=Trust(str(tmp_path / "gone.pem"))).contact()
        assert place.asked == []


def test_a_machine_in_between_with_a_certificate_of_its_own_cannot_pass_on_the_servers_hello(
    authority: Authority, tmp_path: Path
) -> None:
    real, other = authority.certificate("real.pem", self_signed=True), authority.certificate("between.pem", self_signed=True)
    with (
        TrackerProcess(tmp_path / "ours", settings={"LLMPT_TLS_CERT": str(real)}) as ours,
        InBetween(ours.url, certificate=other) as between,
    ):
        done = llmpt(tmp_path, "join", between.url, "--fingerprint", fingerprint(ours))
        assert (done.returncode, "no authority vouches" in done.stderr) == (1, True)
        assert known(tmp_path) == []
        done = llmpt(tmp_path, "join", f"https://localhost:{ours.http_port}", "--fingerprint", fingerprint(ours))
        assert done.returncode == 0, done.stderr
