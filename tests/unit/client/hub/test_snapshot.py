"""Why a repo could not be downloaded, in a sentence, whatever version of huggingface_hub raised what."""

from __future__ import annotations

import pytest

from llmpt.core.repo import RepoRef
from llmpt.hub.snapshot import reason

REF = RepoRef("dataset", "org/name")


class HfHubHTTPError(OSError): ...


class RepositoryNotFoundError(HfHubHTTPError): ...


class GatedRepoError(RepositoryNotFoundError): ...


class EntryNotFoundError(HfHubHTTPError): ...


class LocalEntryNotFoundError(EntryNotFoundError, FileNotFoundError, ValueError): ...


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GatedRepoError("403 Client Error.\nlong text"), "datasets/org/name is gated"),
        (RepositoryNotFoundError("401"), "is not on the Hub, or is private"),
        (EntryNotFoundError("404"), "has no such file"),
        (LocalEntryNotFoundError("no connection"), "the Hub does not answer"),
        (OSError(28, "No space left on device", "/cache/x"), "No space left on device: /cache/x"),
        (HfHubHTTPError("500 Server Error\nRequest ID: 1"), "was not downloaded: 500 Server Error"),
        (ValueError(), "was not downloaded: ValueError"),
    ],
)
def test_a_refusal_is_told_in_a_sentence(error: Exception, said: str) -> None:
    text = reason(REF, error)
    assert said in text
    assert "\n" not in text
