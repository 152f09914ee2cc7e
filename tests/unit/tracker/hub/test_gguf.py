"""A GGUF file by its quantisation."""

from __future__ import annotations

import pytest

from llmpt_tracker.rules.hub.files import HubFile
from llmpt_tracker.rules.hub.gguf import manifest

REPO = ["README.md", "a-IQ4_XS.gguf", "a-Q4_K_S.gguf", "a.Q4_K_M.gguf", "a-Q8_0-00001-of-00002.gguf",
        "a-Q8_0-00002-of-00002.gguf",
        "BF16/a-00001-of-00003.gguf", "BF16/a-00002-of-00003.gguf", "mmproj-a-f16.gguf"]  # fmt: skip


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 5, "ab" * 32, lfs=True, swarm=None) for path in paths]


@pytest.mark.parametrize(
    ("tag", "path"),
    [
        ("latest", "a.Q4_K_M.gguf"),
        ("q4_k_m", "a.Q4_K_M.gguf"),
        ("Q4_K_S", "a-Q4_K_S.gguf"),
        ("Q8_0", "a-Q8_0-00001-of-00002.gguf"),
        ("bf16", "BF16/a-00001-of-00003.gguf"),
        ("a-IQ4_XS.gguf", "a-IQ4_XS.gguf"),
        ("Q4", None),
        (".*", None),
        ("f16", None),
    ],
)
def test_a_tag_is_a_quantisation_in_any_case(tag: str, path: str | None) -> None:
    found = manifest(files(*REPO), tag)
    assert (found and found["ggufFile"]["rfilename"]) == path
    if found:
        assert found["ggufFile"] | {"rfilename": ""} == {"rfilename": "", "blobId": "sha256:" + "ab" * 32, "size": 5}
        assert found["mmprojFile"]["rfilename"] == "mmproj-a-f16.gguf"


def test_the_latest_is_the_first_where_there_is_none_of_the_usual_kind() -> None:
    assert manifest(files("b-Q2_K.gguf", "c-Q3_K.gguf"), "latest") == {
        "ggufFile": {"rfilename": "b-Q2_K.gguf", "blobId": "sha256:" + "ab" * 32, "size": 5}
    }
    assert manifest(files("README.md", "mmproj.gguf"), "latest") is None
