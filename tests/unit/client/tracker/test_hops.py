"""Which machines a tracker may name."""

from __future__ import annotations

import pytest

from llmpt.core.networks import parse_address
from llmpt.tracker.hops import may_name

ON_LAN = (parse_address("10.0.0.5"), parse_address("fd00::5"))
HERE = (parse_address("127.0.0.1"),)


@pytest.mark.parametrize("address", ["10.0.0.9", "203.0.113.9", "fd00::9", "64:ff9b::a00:9", "2002:a00:9::1"])
def test_a_machine_of_a_network_may_be_named(address: str) -> None:
    assert may_name(parse_address(address), ON_LAN)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%eth0", "224.0.0.1", "ff02::1", "0.0.0.0", "::"),
        *(
            "64:ff9b::169.254.169.254",
            "64:ff9b::127.0.0.1",
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::1",
            "::127.0.0.1",
            "::169.254.1.1",
        ),
    ],
)
def test_this_machine_and_its_link_may_not_in_whatever_clothes(address: str) -> None:
    assert not may_name(parse_address(address), ON_LAN)


def test_a_tracker_of_this_machine_may_name_it() -> None:
    assert may_name(parse_address("127.0.0.1"), HERE)
    assert may_name(parse_address("::1"), HERE)
