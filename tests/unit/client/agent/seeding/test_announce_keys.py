"""The keys of what was seeded before: each blob is asked for, whatever the tracker says of others, and nothing without need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmpt.agent.seeding.announce_keys import AGAIN_S, AT_ONCE, AnnounceKeys
from llmpt.core.blob import Etag

BLOBS = [Etag(f"{number:064x}") for number in range(2 * AT_ONCE + 50)]


class World:
    """An engine that seeds `BLOBS`, and a tracker that has keys for those of `readable`."""

    def __init__(self, readable: Sequence[Etag]) -> None:
        self.readable, self.known, self.asked = set(readable), dict[Etag, str](), list[list[Etag]]()
        self.wants_keys, self.answers, self.now, self.looked = True, True, 1000.0, 0
        self.reads_with = "a token"

    def without_announce_key(self) -> list[Etag]:
        self.looked += 1
        return [etag for etag in BLOBS if etag not in self.known]

    def know_announce_keys(self, keys: Mapping[Etag, str]) -> None:
        self.known.update(keys)

    def doubt_announce_keys(self) -> None:
        self.known.clear()

    def announce_keys(self, etags: Sequence[Etag]) -> dict[Etag, str] | None:
        if not self.answers:
            return None
        self.asked.append(list(etags))
        return {etag: f"of {self.reads_with}" for etag in etags if etag in self.readable}


def test_what_may_not_be_read_takes_no_place_of_the_rest() -> None:
    world = World(readable=BLOBS[AT_ONCE:])
    keys = AnnounceKeys(world, world, clock=lambda: world.now)
    for _ in range(5):
        keys.look()
    assert set(world.known) == world.readable
    assert [etag for batch in world.asked for etag in batch] == BLOBS, "each once"
    world.now += AGAIN_S
    world.readable = set(BLOBS)
    keys.look()
    assert set(world.known) == set(BLOBS)


def test_a_tracker_that_does_not_answer_is_asked_the_same_again() -> None:
    world = World(readable=BLOBS)
    world.answers = False
    keys = AnnounceKeys(world, world, clock=lambda: world.now)
    keys.look()
    world.answers = True
    keys.look()
    assert world.asked == [BLOBS[:AT_ONCE]]


def test_where_no_keys_are_wanted_nothing_is_looked_at() -> None:
    world = World(readable=BLOBS)
    world.wants_keys = False
    AnnounceKeys(world, world).look()
    assert (world.looked, world.asked) == (0, [])


def test_with_another_token_all_keys_are_asked_for_anew() -> None:
    world = World(readable=BLOBS)
    keys = AnnounceKeys(world, world, clock=lambda: world.now)
    for token in ("a token", "", "another"):  # "": it is being written
        world.reads_with = token
        for _ in range(4):
            keys.look()
    assert set(world.known) == set(BLOBS)
    assert set(world.known.values()) == {"of another"}
