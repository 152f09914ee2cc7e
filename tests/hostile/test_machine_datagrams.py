"""A machine that sends datagrams in another one's name, or more than its share of them."""

from __future__ import annotations

import asyncio
import struct

from tests.support.udp_client import PROTOCOL_ID, UdpClient, a_tracker, error, listening


def test_without_an_id_of_its_address_a_client_gets_no_more_than_it_sent() -> None:
    async def scenario() -> None:
        with listening(a_tracker()) as (_, port):
            client = UdpClient(port)
            await asyncio.to_thread(_forge, client)
            client.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def _forge(client: UdpClient) -> None:
    client.connect()
    given = client.connection
    for forged in (bytes(8), bytes(reversed(given)), struct.pack(">Q", PROTOCOL_ID + 1)):
        client.connection = forged
        answer = client.announce()
        assert "connect again" in error(answer)
        assert len(answer) <= 98
        assert len(client.scrape()) <= 16
    for rubbish in (b"", b"x" * 15, struct.pack(">QII", PROTOCOL_ID, 1, 1), given + struct.pack(">II", 3, 1), b"\xff" * 1400):
        client.send(rubbish)
        assert client.hears_nothing()


def test_an_address_that_asks_for_too_much_is_not_heard_for_the_rest_of_a_second() -> None:
    async def scenario() -> None:
        with listening(a_tracker(), per_second=5) as (front, port):
            client, other = UdpClient(port), UdpClient(port, source="127.0.0.2")
            for _ in range(5):
                await asyncio.to_thread(client.connect)
            client.send(struct.pack(">QII", PROTOCOL_ID, 0, 7))
            await asyncio.to_thread(other.connect)  # it was sent later, so that the one before has been read
            front.tick()
            assert await asyncio.to_thread(client.hears_nothing)
            client.close()
            other.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
