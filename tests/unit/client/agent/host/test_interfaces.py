"""Where the agent listens: on the chosen network, and on no tunnel that was not named."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt.agent.host import interfaces
from llmpt.agent.host.interfaces import Interface, announced_address, listen_addresses, read_interfaces
from llmpt.agent.host.listening import Listening
from llmpt.core.errors import SettingError
from llmpt.core.networks import Address, parse_address
from llmpt.settings import ClientSettings

EVERYWHERE = ("0.0.0.0", "[::]")


def addresses(*texts: str) -> tuple[Address, ...]:
    return tuple(map(parse_address, texts))


LO = Interface("lo", addresses("127.0.0.1", "::1"))
ETH = Interface("eth0", addresses("192.168.1.5", "fd00::5"))
IB = Interface("ib0", addresses("10.9.0.5"))
WG = Interface("wg0", addresses("10.8.0.2"), tunnel=True)
IDLE_TUN = Interface("tun0", (), tunnel=True)


@pytest.mark.parametrize(
    ("bind", "chosen", "up", "listen"),
    [
        (EVERYWHERE, (), (LO, ETH, IB), EVERYWHERE),
        (EVERYWHERE, (), (LO, ETH, IDLE_TUN), EVERYWHERE),
        (EVERYWHERE, (), (), EVERYWHERE),
        (EVERYWHERE, (), (LO, ETH, WG), ("127.0.0.1", "::1", "192.168.1.5", "fd00::5")),
        (("0.0.0.0",), (), (LO, ETH, WG), ("127.0.0.1", "192.168.1.5")),
        (("10.8.0.2",), (), (LO, ETH, WG), ("10.8.0.2",)),
        (EVERYWHERE, ("ib0",), (LO, ETH, IB), ("10.9.0.5",)),
        (EVERYWHERE, ("wg0",), (LO, ETH, WG), ("10.8.0.2",)),
        (EVERYWHERE, ("192.168.1.5", "lo"), (LO, ETH), ("192.168.1.5", "127.0.0.1", "::1")),
        (EVERYWHERE, ("[fd00::5]",), (LO, ETH), ("fd00::5",)),
        (("127.0.0.1",), ("eth0", "eth0"), (LO, ETH), ("192.168.1.5", "fd00::5")),
    ],
)  # fmt: skip
def test_what_is_listened_on(
    bind: tuple[str, ...], chosen: tuple[str, ...], up: tuple[Interface, ...], listen: tuple[str, ...]
) -> None:
    assert listen_addresses(bind, chosen, up) == listen


@pytest.mark.parametrize("name", ["eth9", "10.1.1.1", "tun0"])
def test_a_network_that_is_not_there_is_named_with_those_that_are(name: str) -> None:
    with pytest.raises(SettingError, match=f"LLMPT_INTERFACE={name}: .*there are lo, eth0"):
        listen_addresses(EVERYWHERE, (name,), (LO, ETH, IDLE_TUN))


@pytest.mark.parametrize(
    ("towards", "listen", "announced"),
    [
        ("192.168.1.5", EVERYWHERE, "192.168.1.5"),
        ("192.168.1.5", ("192.168.1.5", "10.9.0.5"), "192.168.1.5"),
        ("10.8.0.2", ("127.0.0.1", "192.168.1.5", "fd00::5"), "192.168.1.5"),
        ("10.8.0.2", ("fd00::5",), None),
        (None, EVERYWHERE, None),
    ],
)
def test_the_address_that_is_announced_is_listened_on(
    towards: str | None, listen: tuple[str, ...], announced: str | None
) -> None:
    found = announced_address(towards and parse_address(towards), listen)  # type: ignore[arg-type]
    assert found == (announced and parse_address(announced))


def test_tunnels_are_told_by_their_flags_and_by_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up, point_to_point = 0x1, 0x10
    kinds = {"eth0": "1", "wg0": "65534", "tap0": "1", "ppp0": "512", "utun3": None, "gre1": "778", "wgname": "1", "down0": "1"}
    for name, kind in kinds.items():
        (tmp_path / name).mkdir()
        if kind is not None:
            (tmp_path / name / "type").write_text(f"{kind}\n")
    (tmp_path / "tap0" / "tun_flags").write_text("0x1002\n")
    (tmp_path / "wgname" / "uevent").write_text("DEVTYPE=wireguard\nINTERFACE=wgname\n")
    entries: list[tuple[str, int, Address | None]] = []
    entries += [(name, up | (point_to_point if name == "utun3" else 0), parse_address("10.0.0.1")) for name in kinds]
    entries[-1] = ("down0", 0, parse_address("10.0.0.2"))
    entries += [("eth0", up, parse_address("fe80::1")), ("eth0", up, parse_address("fd00::1")), ("eth0", up, None)]
    monkeypatch.setattr(interfaces, "_getifaddrs", lambda: entries)
    found = {interface.name: interface for interface in read_interfaces(tmp_path)}
    assert {name for name, interface in found.items() if interface.tunnel} == {"wg0", "tap0", "ppp0", "utun3", "gre1", "wgname"}
    assert found["eth0"].addresses == addresses("10.0.0.1", "fd00::1")
    assert "down0" not in found


def test_this_machines_own_interfaces_can_be_read() -> None:
    loopback = [interface for interface in read_interfaces() if parse_address("127.0.0.1") in interface.addresses]
    assert [interface.tunnel for interface in loopback] == [False]


def test_a_tunnel_that_comes_up_later_is_noticed(tmp_path: Path) -> None:
    up = [LO, ETH]
    settings = ClientSettings.read({"XDG_CONFIG_HOME": str(tmp_path)})
    listening = Listening(settings, tracker=("127.0.0.1", 8000), read=lambda: tuple(up))
    assert (listening.hosts, listening.announced) == (EVERYWHERE, parse_address("127.0.0.1"))
    assert not listening.changed()
    up.append(WG)
    assert listening.changed()
    assert listening.hosts == ("127.0.0.1", "::1", "192.168.1.5", "fd00::5")
    assert not listening.changed()
    up.remove(WG)
    assert listening.changed()
    assert listening.hosts == EVERYWHERE


def test_a_chosen_network_that_goes_may_come_back(tmp_path: Path) -> None:
    up = [LO, ETH]
    settings = ClientSettings.read({"XDG_CONFIG_HOME": str(tmp_path), "LLMPT_INTERFACE": "eth0"})
    listening = Listening(settings, tracker=("127.0.0.1", 8000), read=lambda: tuple(up))
    up.remove(ETH)
    assert not listening.changed()
    up.append(Interface("eth0", addresses("192.168.1.77")))
    assert listening.changed()
    assert (listening.hosts, listening.announced) == (("192.168.1.77",), parse_address("192.168.1.77"))
