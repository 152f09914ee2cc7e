"""Requests that the OpenAPI document allows, made from it by schemathesis, with no token, a wrong one, and one of each kind.

Whatever a running tracker is asked, its answer is one that the document names, of the shape that it says, and never a 5xx.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as of_the_document

from llmpt.tracker.client import TrackerClient
from llmpt_tracker.openapi.document import document
from tests.support.tracker import TrackerProcess
from tests.unit.tracker.bodies import big, manifest, packed, small, torrent

CHECKS = [
    checks.not_a_server_error,
    of_the_document.status_code_conformance,
    of_the_document.content_type_conformance,
    of_the_document.response_schema_conformance,
]
DOCUMENT = schemathesis.openapi.from_dict(document())
FOUND: list[Any] = list(DOCUMENT.get_all_operations())
OPERATIONS = {found.ok().label: found.ok() for found in FOUND}
TOKENS = {"none": 2, "unknown": 1, "sharer": 3, "publisher": 12}  # requests for each route: most where most is read
A = torrent("a")
MANY = 200
ALIKE = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("tracker") / "data") as made:
        TrackerClient(made.url, token=made.token, timeout_s=20).publish(manifest(big("m", A), small("s"), torrents=packed(A)))
        yield made


@pytest.fixture(scope="module")
def headers(tracker: TrackerProcess) -> dict[str, dict[str, str]]:
    tokens = {"unknown": "llmpt_pub_unknown", "publisher": tracker.token, "sharer": TrackerClient(tracker.url).share_token("ann")}
    return {"none": {}} | {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}


def test_the_document_has_routes() -> None:
    assert len(OPERATIONS) > 20


@pytest.mark.parametrize("label", OPERATIONS)
def test_a_request_that_the_document_allows_has_an_answer_of_the_document(
    tracker: TrackerProcess, headers: dict[str, dict[str, str]], label: str
) -> None:
    for name, requests in TOKENS.items():
        probe(tracker.url, OPERATIONS[label], headers[name], requests)


@pytest.mark.slow
@pytest.mark.parametrize("label", OPERATIONS)
def test_hundreds_of_them_have(tracker: TrackerProcess, headers: dict[str, dict[str, str]], label: str) -> None:
    for name in TOKENS:
        probe(tracker.url, OPERATIONS[label], headers[name], MANY)


def probe(url: str, operation: Any, headers: dict[str, str], requests: int) -> None:
    """Ask so many times, each time the same in every run; raise for the first answer that is not of the document."""

    @settings(ALIKE, max_examples=requests)
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        case.validate_response(case.call(base_url=url, headers=headers), headers=headers, checks=CHECKS)

    ask()
