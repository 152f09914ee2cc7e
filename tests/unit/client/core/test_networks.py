from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from llmpt.core.errors import InvalidInput
from llmpt.core.networks import DEFAULT_PEER_CIDRS, CidrSet, behind_proxies, neighbourhood, parse_address
from llmpt.host.routes import HostNetwork, address_towards

LAN = CidrSet.parse(DEFAULT_PEER_CIDRS)

# What a container on Docker's default bridge (172.17.0.3/16, gateway 172.17.0.1) reads, with one IPv6 network besides.
ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def ipv6_row(destination: str, gateway: str = "::", device: str = "eth0") -> str:
    network, hop = ipaddress.IPv6Network(destination), ipaddress.IPv6Address(gateway)
    numbers = f"{network.network_address.packed.hex()} {network.prefixlen:02x} {'0' * 32} 00 {hop.packed.hex()}"
    return f"{numbers} 00000100 00000001 00000000 00000001 {device:>8}\n"


IPV6_ROUTE = (
    ipv6_row("fd00:1111::/64")
    + ipv6_row("fe80::/64")
    + ipv6_row("::/0", "fd00:1111::1")
    + ipv6_row("ff00::/8")
    + ipv6_row("::/0", device="lo")
)


def proc(folder: Path, route: str = ROUTE, ipv6_route: str = IPV6_ROUTE) -> Path:
    (folder / "route").write_text(route)
    (folder / "ipv6_route").write_text(ipv6_route)
    return folder


@pytest.mark.parametrize(
    "text",
    ["10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.1.1", "127.0.0.1", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1"],
)
def test_the_default_is_a_lan(text: str) -> None:
    assert parse_address(text) in LAN


@pytest.mark.parametrize("text", ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"])
def test_the_internet_is_not_in_the_default(text: str) -> None:
    assert parse_address(text) not in LAN


@pytest.mark.parametrize("text", ["", "server", "10.0.0.0/8", "10.1", "1.2.3.4:80", "[::1]"])
def test_a_name_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("fd00:1:2:3:4::5", "fd00:1:2:3::/64"), ("::1", "::/64")],
)
def test_what_one_machine_may_take_all_addresses_of_is_one_neighbourhood(text: str, expected: str) -> None:
    assert neighbourhood(parse_address(text)) == expected


def test_networks_are_read_from_commas_and_blanks() -> None:
    cidrs = CidrSet.parse(" 10.1.2.3/8,\n192.168.0.7  fd00::/8 ")
    assert str(cidrs) == "10.0.0.0/8,192.168.0.7/32,fd00::/8"
    assert cidrs
    assert not CidrSet.parse(" , ")
    assert parse_address("10.255.0.1") in cidrs
    assert parse_address("192.168.0.8") not in cidrs


def test_the_network_that_is_none_is_named() -> None:
    with pytest.raises(InvalidInput, match="'lan'"):
        CidrSet.parse("10.0.0.0/8,lan")


def test_a_container_knows_its_gateways_and_what_is_on_its_links(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    network = HostNetwork.read(proc(tmp_path), root=tmp_path)
    assert network.in_container
    assert network.gateways == {ipaddress.ip_address("172.17.0.1"), ipaddress.ip_address("fd00:1111::1")}
    assert str(network.on_link) == "172.17.0.0/16,fd00:1111::/64,fe80::/64"


def test_a_neighbour_is_another_container_and_never_the_gateway(tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").touch()
    network = HostNetwork.read(proc(tmp_path), root=tmp_path)
    assert network.is_neighbour(parse_address("172.17.0.9"))
    assert not network.is_neighbour(parse_address("172.17.0.1"))
    assert not network.is_neighbour(parse_address("192.168.1.9"))
    assert not HostNetwork(on_link=network.on_link).is_neighbour(parse_address("172.17.0.9"))


def test_podman_is_a_container_too_and_a_plain_host_is_none(tmp_path: Path) -> None:
    assert not HostNetwork.read(proc(tmp_path), root=tmp_path).in_container
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".containerenv").touch()
    assert HostNetwork.read(proc(tmp_path), root=tmp_path).in_container


def test_a_default_route_without_a_gateway_does_not_put_the_world_on_link(tmp_path: Path) -> None:
    route = ROUTE.splitlines()[0] + "\ntun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
    network = HostNetwork.read(proc(tmp_path, route, ""), root=tmp_path)
    assert network == HostNetwork()


def test_an_internal_network_has_no_gateway(tmp_path: Path) -> None:
    network = HostNetwork.read(proc(tmp_path, "\n".join(ROUTE.splitlines()[::2]), ""), root=tmp_path)
    assert not network.gateways
    assert str(network.on_link) == "172.17.0.0/16"


def test_a_system_without_these_tables_knows_nothing(tmp_path: Path) -> None:
    assert HostNetwork.read(tmp_path / "nowhere", root=tmp_path) == HostNetwork()


def test_the_way_to_oneself_is_loopback() -> None:
    assert address_towards("127.0.0.1", 9) == ipaddress.ip_address("127.0.0.1")


PROXIES = CidrSet.parse("10.0.0.0/24")


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("192.168.1.5", "", "192.168.1.5"),
        ("192.168.1.5", "10.9.9.9", "192.168.1.5"),  # whoever is no proxy cannot speak for another
        ("10.0.0.2", "192.168.1.5", "192.168.1.5"),
        ("10.0.0.2", "1.2.3.4, 192.168.1.5", "192.168.1.5"),  # what the stranger claimed stands left of the stranger
        ("10.0.0.2", "192.168.1.5, 10.0.0.3", "192.168.1.5"),
        ("10.0.0.2", "192.168.1.5, nonsense", "10.0.0.2"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "[fd00::5]", "fd00::5"),
        ("::ffff:192.168.1.5", "", "192.168.1.5"),
    ],
)
def test_the_address_is_the_sockets_unless_a_trusted_proxy_says_another(remote: str, forwarded: str, expected: str) -> None:
    assert behind_proxies(parse_address(remote), forwarded, PROXIES) == parse_address(expected)
