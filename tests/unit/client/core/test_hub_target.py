"""The grammar of the Hub's targets: what is its, what is ours, and where a repo, a revision and a path end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpt.core.hub_target import HubTarget, hub_name, parse


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        ("/org/name/resolve/main/config.json", HubTarget("resolve", "model", "org/name", "main", "config.json")),
        ("/gpt2/resolve/main/config.json", HubTarget("resolve", "model", "gpt2", "main", "config.json")),
        ("/datasets/squad/resolve/main/data/a.parquet", HubTarget("resolve", "dataset", "squad", "main", "data/a.parquet")),
        ("/spaces/org/name/raw/main/app.py", HubTarget("raw", "space", "org/name", "main", "app.py")),
        ("/kernels/org/name/resolve/v1/build.toml", HubTarget("resolve", "kernel", "org/name", "v1", "build.toml")),
        ("/org/name/resolve/feature%2Fx/a%20b/c%2Bd", HubTarget("resolve", "model", "org/name", "feature/x", "a b/c+d")),
        ("/org/name/resolve/refs%2Fpr%2F1/f", HubTarget("resolve", "model", "org/name", "refs/pr/1", "f")),
        ("/org/name/resolve/refs/pr/1/d/f", HubTarget("resolve", "model", "org/name", "refs/pr/1", "d/f")),
        ("/org/name/resolve/refs/convert/parquet/f", HubTarget("resolve", "model", "org/name", "refs/convert/parquet", "f")),
        ("/org/name/resolve/main/100%25", HubTarget("resolve", "model", "org/name", "main", "100%")),
        ("/org/name/resolve/main/%2525", HubTarget("resolve", "model", "org/name", "main", "%25")),  # once
        ("//org//name/resolve/main//f/?download=true#x", HubTarget("resolve", "model", "org/name", "main", "f")),
        ("http://server:8000/org/name/resolve/main/f", HubTarget("resolve", "model", "org/name", "main", "f")),
        ("/dist/x/resolve/main/f", HubTarget("resolve", "model", "dist/x", "main", "f")),
        ("/static/x/resolve/main/f", HubTarget("resolve", "model", "static/x", "main", "f")),
        ("/api/models", HubTarget("list", "model")),
        ("/api/datasets/?limit=5", HubTarget("list", "dataset")),
        ("/api/models/org/name", HubTarget("info", "model", "org/name")),
        ("/api/models/org%2Fname", HubTarget("info", "model", "org/name")),
        ("/api/models/gpt2", HubTarget("info", "model", "gpt2")),
        ("/api/models/org/name/revision/feature%2Fx", HubTarget("info", "model", "org/name", "feature/x")),
        ("/api/models/org/name/revision/refs/pr/12", HubTarget("info", "model", "org/name", "refs/pr/12")),
        ("/api/models/org/name/tree/main", HubTarget("tree", "model", "org/name", "main")),
        ("/api/models/gpt2/tree/main/", HubTarget("tree", "model", "gpt2", "main")),
        ("/api/models/org/name/tree/main/a%2Fb", HubTarget("tree", "model", "org/name", "main", "a/b")),
        ("/api/models/org/name/tree/main/a/b", HubTarget("tree", "model", "org/name", "main", "a/b")),
        ("/api/models/org/tree", HubTarget("info", "model", "org/tree")),
        ("/api/models/org/name/paths-info/main", HubTarget("paths-info", "model", "org/name", "main")),
        ("/api/models/org/name/refs?include_prs=1", HubTarget("refs", "model", "org/name")),
        ("/api/models/org/name/commits/main", HubTarget("commits", "model", "org/name", "main")),
        ("/api/spaces/org/name/auth-check", HubTarget("auth-check", "space", "org/name")),
        ("/api/models/org/name/discussions?p=0", HubTarget("unknown", "model", "org/name")),
        ("/api/models/org/name/xet-read-token/main", HubTarget("unknown", "model", "org/name")),
        ("/api/models/org/name/what/ever", HubTarget("unknown", "model", "org/name")),
        ("/api/models/org/name/commit/main", HubTarget("unknown", "model", "org/name")),
        ("/api/organizations/org/overview", HubTarget("owner", path="org")),
        ("/api/users/ann/overview", HubTarget("owner", path="ann")),
        ("/org/name.git/info/refs?service=git-upload-pack", HubTarget("git", "model", "org/name", path="info/refs")),
        ("/v2/org/name-GGUF/manifests/Q4_K_M", HubTarget("manifest", "model", "org/name-GGUF", path="Q4_K_M")),
        ("/v2/name/resolve/main/manifests/x", HubTarget("resolve", "model", "v2/name", "main", "manifests/x")),
        ("/datasets/squad/git-receive-pack", HubTarget("git", "dataset", "squad", path="git-receive-pack")),
        ("/org/name.git/info/lfs/objects/batch", HubTarget("git", "model", "org/name", path="info/lfs/objects/batch")),
        ("/api/whoami-v2", HubTarget("whoami")),
        ("/api/agent-harnesses", HubTarget("harnesses")),
        ("/api/telemetry/a/b", HubTarget("telemetry")),
        ("/api/anything", HubTarget("unknown")),
    ],
)
def test_a_target_of_the_hub_is_read(raw: str, target: HubTarget) -> None:
    assert parse(raw) == target


@pytest.mark.parametrize(
    "raw",
    [
        "/",
        "",
        "*",
        "/healthz",
        "/metrics",
        "/api",
        "/api/v1/torrents",
        "/api/v1/repos/model/org/name/revisions/main",
        "/dist/",
        "/dist/llmpt-0.1.0-py3-none-any.whl",
        "/static/style.css",
        "/blobs/0123",
        "/repos/model/org/name/revisions/main",
        "/org/name",
        "/org/name/resolve/main",
        "/org/name/tree/main/x",
        "/a/b/c/resolve/main/f",
    ],
)
def test_our_own_routes_stay_ours(raw: str) -> None:
    assert parse(raw) is None


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["api", "models", "resolve", "raw", "tree", "a", "..", "%2e%2e", "%2F", "%00", "%ff", "é", "", "%", "refs"]
        )
    )
)
def test_any_target_is_read_or_left_alone(parts: list[str]) -> None:
    target = parse("/" + "/".join(parts))
    assert target is None or target.route


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://huggingface.co", "https://huggingface.co"),
        ("HTTPS://HuggingFace.co:443/", "https://huggingface.co"),
        ("http://hub:80/a/B/", "http://hub/a/B"),
        ("http://hub:443", "http://hub:443"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("", ""),
    ],
)
def test_a_hub_has_one_name_however_it_is_written(url: str, name: str) -> None:
    assert hub_name(url) == hub_name(name) == name
