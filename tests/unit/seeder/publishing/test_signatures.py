"""Addresses of blobs that count where reading takes a token."""

from __future__ import annotations

from llmpt.core.signed_address import etag_of, is_signed, signed_path
from llmpt_seeder.publishing.signatures import Signatures

ETAG, OTHER = "a" * 64, "b" * 64


class KeptFacts(dict[str, str]):
    def fact(self, name: str) -> str | None:
        return self.get(name)

    def keep_fact(self, name: str, value: str) -> bool:
        self[name] = value
        return True


def test_a_path_holds_for_its_blob_until_its_moment() -> None:
    path = signed_path("key", ETAG, until=1000)
    assert etag_of(path) == etag_of(f"/blobs/{ETAG}") == ETAG
    assert is_signed("key", path, now=1000)
    assert not is_signed("key", path, now=1000.5)
    assert not is_signed("another", path, now=0)
    assert not is_signed("key", path.replace("1000", "2000"), now=0)
    assert not is_signed("key", path.replace(ETAG, OTHER), now=0)
    assert not is_signed("key", f"/blobs/{ETAG}", now=0)


def test_a_path_to_look_at_gives_nothing() -> None:
    path = signed_path("key", ETAG, until=1000, to_look=True)
    assert is_signed("key", path, now=0, looks=True)
    assert not is_signed("key", path, now=0)
    assert not is_signed("key", path, now=1000.5, looks=True)
    assert is_signed("key", signed_path("key", ETAG, until=1000), now=0, looks=True), "an address of a file takes a HEAD, too"


def test_without_a_key_every_path_counts_and_with_one_the_signed_alone() -> None:
    facts = KeptFacts()
    signatures = Signatures(facts, clock=lambda: 500)
    assert signatures.may_get(f"/blobs/{ETAG}", False)
    signatures.learn("key")
    assert not signatures.may_get(f"/blobs/{ETAG}", False)
    assert signatures.may_get(signed_path("key", ETAG, until=1000), False)
    assert not Signatures(facts, clock=lambda: 500).may_get(f"/blobs/{ETAG}", False)  # nor after a restart
    signatures.learn("")
    assert Signatures(facts).may_get(f"/blobs/{ETAG}", False)
