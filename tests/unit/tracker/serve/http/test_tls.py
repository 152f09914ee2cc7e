"""TLS of the application's server, over real sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from llmpt.core.errors import SettingError
from llmpt.core.networks import parse_address
from llmpt.host.certificate import Certificate
from llmpt_tracker.serve.http.bounds import ServingLimits, TimeLimits
from llmpt_tracker.serve.http.places import Guest
from llmpt_tracker.serve.http.ways import Ways
from tests.support.certificates import digest
from tests.unit.tracker.serve.http.test_loop import GET, connected, echo, post, read_all, serving

BIG = 4 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two certificates for `server`, each in one file with its key."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("one", "two"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:server"]
        subprocess.run(
            [*command, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"], check=True, capture_output=True
        )
        (folder / f"{name}.pem").write_bytes((folder / f"{name}.crt").read_bytes() + (folder / f"{name}.key").read_bytes())
    return folder / "one.pem", folder / "two.pem"


def ways(certificate: Certificate, *, is_own: bool = False) -> Ways:
    """Return the ways of a loop that speaks TLS."""
    return Ways(lambda text: Guest.of(parse_address(text), is_own=is_own), wrap=certificate.wrap)


def secured(at: tuple[str, int], ca: Path) -> ssl.SSLSocket:
    """Connect, and hold the server to a certificate."""
    context = ssl.create_default_context(cafile=str(ca))
    return context.wrap_socket(connected(at), server_hostname="server")


def test_requests_and_large_answers_go_over_tls(made: tuple[Path, Path]) -> None:
    with serving(ways=ways(Certificate(made[0], None))) as at, secured(at, made[0]) as sock:
        sock.sendall(post(b"x" * BIG) + post(b"END"))
        assert read_all(sock) == b"<%d>" % BIG + b"x" * BIG + b"<3>END"


def test_a_handshake_that_does_not_come_to_its_end_holds_up_nobody_and_is_let_go(made: tuple[Path, Path]) -> None:
    limits = ServingLimits(TimeLimits(handshake_s=0.5))
    with serving(limits=limits, ways=ways(Certificate(made[0], None))) as at:
        half_open = [connected(at, b"\x16\x03\x01") for _ in range(50)]
        with secured(at, made[0]) as sock:
            sock.sendall(post(b"END"))
            assert read_all(sock) == b"<3>END"
        for one in half_open:
            with one:
                assert one.recv(100) == b""


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(made: tuple[Path, Path], tmp_path: Path) -> None:
    used, now = tmp_path / "server.pem", [0.0]
    shutil.copy(made[0], used)
    certificate = Certificate(used, None, clock=lambda: now[0])
    with serving(ways=ways(certificate)) as at:
        for text, ca in ((None, made[0]), (b"half a file", made[0]), (made[1].read_bytes(), made[1])):
            if text is not None:
                used.write_bytes(text)
            now[0] += 10
            with secured(at, ca) as sock:
                sock.sendall(post(b"END"))
                assert read_all(sock) == b"<3>END"


def test_without_tls_a_stranger_is_told_so_and_the_appliances_own_is_answered(made: tuple[Path, Path]) -> None:
    certificate = Certificate(made[0], None)
    with serving(ways=ways(certificate)) as at, connected(at, GET) as sock:
        assert b"https://" in read_all(sock)
    with serving(ways=ways(certificate, is_own=True)) as at, connected(at, post(b"END")) as sock:
        assert read_all(sock) == b"<3>END"


def test_a_file_that_is_no_certificate_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(SettingError, match="LLMPT_TLS_CERT"):
        Certificate(tmp_path / "x.pem", None)


def test_a_client_that_goes_in_the_middle_of_a_handshake_is_forgotten(made: tuple[Path, Path]) -> None:
    with serving(echo, ways=ways(Certificate(made[0], None))) as at:
        for start in (b"", b"\x16", b"\x16\x03\x01\x00\x05hello"):
            socket.create_connection(at).close()
            connected(at, start).close()
        with secured(at, made[0]) as sock:
            sock.sendall(post(b"END"))
            assert read_all(sock) == b"<3>END"


def test_a_certificate_says_its_own_digest_and_that_of_the_one_after_it(made: tuple[Path, Path], tmp_path: Path) -> None:
    used, now = tmp_path / "server.pem", [0.0]
    used.write_bytes(made[0].read_bytes() + made[1].read_bytes())  # the second stands for its chain
    certificate = Certificate(used, made[0], clock=lambda: now[0])
    assert certificate.sha256 == digest(made[0])
    shutil.copy(made[1], used)
    assert certificate.sha256 == digest(made[0]), "it is looked at once a second"
    now[0] += 10
    assert certificate.sha256 == digest(made[0]), "its key is another's, and it stays as it was"
    certificate = Certificate(used, None)
    assert certificate.sha256 == digest(made[1])
