"""Whose connection gets bytes first, where many take some."""

from __future__ import annotations

import socket

from llmpt.core.networks import parse_address
from llmpt_tracker.serve.http.connection import Connection
from llmpt_tracker.serve.http.crowd import in_turn
from llmpt_tracker.serve.http.places import Guest


def test_a_machine_that_has_few_connections_gets_its_bytes_before_one_that_has_many() -> None:
    with socket.socket() as sock:
        many = [Connection(sock, None, None, Guest.of(parse_address("10.0.0.66"))) for _ in range(20)]
        one = Connection(sock, None, None, Guest.of(parse_address("10.0.0.2")))
        orders = [list(in_turn([*many, one], for_s=60)) for _ in range(5)]
        assert all(order[0] is one for order in orders)
        assert len({order[1] for order in orders}) > 1, "of one machine, another one each time"
        assert all(set(order) == {*many, one} for order in orders)
