"""The words of leases: today's JSON, both ways, and what cannot be said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, InvalidName
from llmpt.core.leases import Ended, FetchProgress, Grant, LeaseAnswer, LeaseOutcome, LeaseRole, Poll, Want
from llmpt.core.repo import RepoRef

A, B = "a" * 64, "b" * 40

# What agents and trackers of today say: older ones must go on understanding it.
POLL_JSON = (
    """{"machine": "0123456789abcdef", "stall_timeout_s": 5.0,
 "wants": [{"etag": "<A>", "size": 7, "repo_type": "model", "repo_id": "org/name"}],
 "fetching": [{"etag": "<B>", "bytes": 3, "rate_bytes_s": 2}],
 "ended": [{"etag": "<A>", "outcome": "published"}]}""".replace("\n", "")
    .replace("<A>", A)
    .replace("<B>", B)
)
POLL = Poll(
    "0123456789abcdef",
    5.0,
    (Want(Etag(A), 7, RepoRef("model", "org/name")),),
    (FetchProgress(Etag(B), 3, 2),),
    (Ended(Etag(A), LeaseOutcome.PUBLISHED),),
)
ANSWER_JSON = (
    """{"leases": [{"etag": "<A>", "role": "wait", "fetcher": "bob", "bytes": 5, "rate_bytes_s": 3},
 {"etag": "<B>", "role": "here", "fetcher": null, "bytes": 0, "rate_bytes_s": 0}],
 "poll_s": 0.5, "boot_id": "b1"}""".replace("\n", "")
    .replace("<A>", A)
    .replace("<B>", B)
)
ANSWER = LeaseAnswer((Grant(Etag(A), LeaseRole.WAIT, "bob", 5, 3), Grant(Etag(B), LeaseRole.HERE)), 0.5, "b1")


def test_a_poll_is_written_and_read_as_ever() -> None:
    assert json.dumps(POLL.as_json()) == POLL_JSON
    assert Poll.parse(json.loads(POLL_JSON)) == POLL


def test_the_appliance_says_that_it_is_unlimited() -> None:
    assert Poll("m", unlimited=True).as_json()["unlimited"] is True
    assert Poll.parse({"machine": "m", "unlimited": True}).unlimited


def test_all_but_the_machine_may_be_left_out() -> None:
    assert Poll.parse({"machine": "m"}) == Poll("m", 5.0)


def test_an_answer_is_written_and_read_as_ever() -> None:
    assert json.dumps(ANSWER.as_json()) == ANSWER_JSON
    assert LeaseAnswer.parse(json.loads(ANSWER_JSON)) == ANSWER


def test_an_answer_may_hold_more_than_is_known_here() -> None:
    said = json.loads(ANSWER_JSON)
    said["leases"][0]["forecast_s"] = said["news"] = 7
    assert LeaseAnswer.parse(said) == ANSWER


def test_a_fetcher_with_a_name_that_no_terminal_should_see_is_shown_without() -> None:
    grant = Grant.parse({"etag": A, "role": "wait", "fetcher": "b\x1b[31mob\n" + "x" * 200})
    assert grant.fetcher is not None
    assert grant.fetcher.startswith("b?[31mob?xxx")
    assert len(grant.fetcher) == 100


def said(**changes: Any) -> dict[str, Any]:
    return {**json.loads(POLL_JSON), **changes}


def want(**changes: Any) -> dict[str, Any]:
    return said(wants=[json.loads(POLL_JSON)["wants"][0], {**json.loads(POLL_JSON)["wants"][0], **changes}])


@pytest.mark.parametrize(
    ("poll", "field"),
    [
        (None, "not an object"),
        ([], "not an object"),
        ({}, "machine"),
        (said(machine=5), "machine"),
        (said(machine=""), "machine"),
        (said(machine="a b"), "machine"),
        (said(machine="a\n"), "machine"),
        (said(machine="a" * 65), "machine"),
        (said(stall_timeout_s=0), "stall_timeout_s"),
        (said(stall_timeout_s=-1), "stall_timeout_s"),
        (said(stall_timeout_s=3600.1), "stall_timeout_s"),
        (said(stall_timeout_s=float("nan")), "stall_timeout_s"),
        (said(stall_timeout_s=True), "stall_timeout_s"),
        (said(stall_timeout_s="5"), "stall_timeout_s"),
        (said(unlimited=1), "unlimited"),
        (said(more=1), "'more'"),
        (said(wants={}), "wants"),
        (said(wants=[{}] * 2001), "wants"),
        (said(fetching=[{}] * 2001), "fetching"),
        (said(ended=[{}] * 2001), "ended"),
        (said(wants=[5]), "wants.0"),
        (want(etag="x"), "wants.1: etag"),
        (want(etag=None), "wants.1: etag"),
        (want(etag="A" * 64), "wants.1: etag"),
        (want(size=-1), "wants.1: size"),
        (want(size=1.0), "wants.1: size"),
        (want(size=True), "wants.1: size"),
        (want(size=2**60), "wants.1: size"),
        (want(repo_id="../a"), "wants.1: repo_id"),
        (want(repo_type="spaceship"), "wants.1: repo_id"),
        (want(repo_type=None), "wants.1: repo_type"),
        (want(repo="model/org/name"), "wants.1: 'repo'"),
        (said(fetching=[{"etag": A, "bytes": 2**60, "rate_bytes_s": 0}]), "fetching.0: bytes"),
        (said(fetching=[{"etag": A, "bytes": 0}]), "fetching.0: rate_bytes_s"),
        (said(ended=[{"etag": A, "outcome": "lost"}]), "ended.0: outcome"),
        (said(ended=[{"etag": A, "outcome": []}]), "ended.0: outcome"),
    ],
)
def test_what_cannot_be_said_is_refused_by_the_name_of_its_field(poll: object, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Poll.parse(poll)
    assert str(refused.value).startswith(field)
    assert isinstance(refused.value, InvalidName) == ("repo_id" in field)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"leases": 5},
        {"leases": [7]},
        {"leases": [{"etag": "x", "role": "wait"}]},
        {"leases": [{"etag": A}]},
        {"leases": [{"etag": A, "role": "steal"}]},
        {"leases": [{"etag": A, "role": "wait", "fetcher": 5}]},
        {"leases": [{"etag": A, "role": "wait", "bytes": -1}]},
        {"leases": [], "poll_s": -1},
        {"leases": [], "poll_s": float("inf")},
    ],
)
def test_nonsense_is_no_answer(answer: object) -> None:
    with pytest.raises(InvalidInput):
        LeaseAnswer.parse(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(A),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["machine", "wants", "fetching", "ended", "etag", "size", "repo_type", "repo_id", "leases", "role"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_json_holds_it_is_read_or_refused(anything: object) -> None:
    for kind in (Poll, LeaseAnswer):
        try:
            parsed = kind.parse(anything)
        except InvalidInput:
            continue
        assert kind.parse(parsed.as_json()) == parsed


def test_the_hubs_rate_is_said_only_where_there_is_something_to_say() -> None:
    assert "hub_rate_bytes_s" not in Poll("m").as_json()
    assert Poll.parse(Poll("m", hub_rate_bytes_s=7).as_json()).hub_rate_bytes_s == 7
    assert LeaseAnswer.parse(LeaseAnswer((), 0.5, "b", asks_hub_rate=True).as_json()).asks_hub_rate
    assert "asks_hub_rate" not in LeaseAnswer((), 0.5).as_json()
