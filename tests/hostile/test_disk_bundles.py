"""A disk that says it is an export: what it may not make a cache hold, and what it may not cost."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from llmpt.identity.keys import ServerKey
from tests.support.bundles import COMMIT, Bundle, bring

FILES = {"config.json": b'{"a": 1}', "model.safetensors": os.urandom(100_000)}
EVIL = {"config.json": b'{"auto_map": "evil.py"}', "evil.py": b"import os; os.system('id')"}
REPO = "models--openai-community--gpt2"
MEMORY = 400 << 20  # a fresh Python with our command has 60 MB


@pytest.fixture(scope="module")
def key() -> ServerKey:
    """That of the server that the user knows."""
    return ServerKey.generate()


@pytest.fixture
def home(tmp_path: Path, key: ServerKey) -> Path:
    """The user's, who has trusted that server before."""
    known = tmp_path / "home" / "config" / "llmpt" / "known-servers.json"
    known.parent.mkdir(parents=True)
    known.write_text(json.dumps({"servers": [{"fingerprint": str(key.public.fingerprint), "name": "ours"}]}))
    return tmp_path / "home"


def refs(home: Path) -> dict[str, str]:
    folder = home / "hub" / REPO / "refs"
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}


def test_a_forged_gpt2_is_not_imported_on_the_word_of_a_disk(home: Path, tmp_path: Path) -> None:
    Bundle(tmp_path / "disk").revision("openai-community/gpt2", EVIL)
    done = bring(tmp_path / "disk", home, "--yes")
    assert done.code == 1
    assert "no server has signed it" in done.out
    assert not (home / "hub").exists()
    told = bring(tmp_path / "disk", home, "--yes", "--unsigned")
    assert (told.code, refs(home)) == (0, {"main": COMMIT})


def test_a_strangers_signature_counts_only_when_the_user_has_named_its_fingerprint(home: Path, tmp_path: Path) -> None:
    stranger = ServerKey.generate()
    Bundle(tmp_path / "disk", stranger, name="hub.example").revision("openai-community/gpt2", FILES)
    done = bring(tmp_path / "disk", home, "--yes", "--unsigned")
    assert done.code == 1
    assert f"signed by hub.example ({stranger.public.fingerprint}), which this machine does not know" in done.out
    assert not (home / "hub").exists()
    wrong = bring(tmp_path / "disk", home, "--yes", "--trust", str(ServerKey.generate().public.fingerprint))
    assert (wrong.code, refs(home)) == (1, {})
    told = bring(tmp_path / "disk", home, "--yes", "--trust", str(stranger.public.fingerprint).upper())
    assert (told.code, refs(home)) == (0, {"main": COMMIT})
    shutil.rmtree(home / "hub")
    assert bring(tmp_path / "disk", home, "--yes").code == 0, "a trusted server is known from then on"
    assert (home / "config" / "llmpt" / "known-servers.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("changed", ["files", "commit", "repo", "refs", "complete", "name", "signed_at"])
def test_what_a_known_server_has_signed_says_that_and_nothing_else(
    home: Path, tmp_path: Path, key: ServerKey, changed: str
) -> None:
    bundle = Bundle(tmp_path / "disk", key)
    manifest = bundle.revision("openai-community/gpt2", FILES)
    document = json.loads(manifest.read_bytes())
    forged = json.loads(Bundle(tmp_path / "forged").revision("openai-community/gpt2", EVIL).read_bytes())
    for blob in (tmp_path / "forged" / "blobs").iterdir():
        shutil.copy(blob, bundle.root / "blobs")
    (signature,) = document["signatures"]
    if changed == "files":
        document["files"] = forged["files"]
    elif changed == "commit":
        manifest.unlink()
        document["commit"], manifest = "1" * 40, manifest.with_name(f"{REPO}@{'1' * 40}.json")
    elif changed == "repo":
        manifest.unlink()
        document["repo_id"], manifest = "other/gpt2", manifest.with_name(f"models--other--gpt2@{COMMIT}.json")
    elif changed == "complete":
        document["complete"] = False
    elif changed == "refs":
        signature["refs"] = ["main", "v1"]
    else:
        signature[changed] = {"name": "ours", "signed_at": signature["signed_at"] + 1}[changed]
    manifest.write_text(json.dumps(document))
    done = bring(tmp_path / "disk", home, "--yes", "--unsigned")
    assert done.code == 1
    assert "changed on its way, or forged" in done.out
    assert not (home / "hub").exists()


def test_the_refs_are_those_that_were_signed_whatever_else_stands_there(home: Path, tmp_path: Path, key: ServerKey) -> None:
    manifest = Bundle(tmp_path / "disk", key, refs=("v1",)).revision("openai-community/gpt2", FILES)
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"refs": ["main"]}))
    assert bring(tmp_path / "disk", home, "--yes").code == 0
    assert refs(home) == {"v1": COMMIT}


def test_no_ref_is_made_or_moved_unless_the_user_has_said_so(home: Path, tmp_path: Path, key: ServerKey) -> None:
    Bundle(tmp_path / "disk", key).revision("openai-community/gpt2", FILES)
    done = bring(tmp_path / "disk", home)
    assert done.code == 1
    assert "main of openai-community/gpt2 is made" in done.out
    assert "--yes" in done.out
    assert not (home / "hub").exists()
    (home / "hub" / REPO / "refs").mkdir(parents=True)
    (home / "hub" / REPO / "refs" / "main").write_text("1" * 40)
    again = bring(tmp_path / "disk", home)
    assert again.code == 1
    assert f"main of openai-community/gpt2 names '{'1' * 12}' now, and is moved" in again.out
    assert refs(home) == {"main": "1" * 40}
    assert bring(tmp_path / "disk", home, "--yes").code == 0
    assert bring(tmp_path / "disk", home).code == 0, "what is there already is no question"


def test_no_link_of_a_disk_is_followed(home: Path, tmp_path: Path, key: ServerKey) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    content = b"a private key"
    (secret / "key").write_bytes(content)
    etag = sha256(content).hexdigest()
    (secret / etag).write_bytes(content)
    bundle = Bundle(tmp_path / "disk", key)
    bundle.revision("openai-community/gpt2", {"id": content})
    (bundle.root / "blobs" / etag).unlink()
    (bundle.root / "blobs" / etag).symlink_to(secret / "key")
    done = bring(bundle.root, home, "--yes")
    assert done.code == 1
    assert "symbolic link" in done.out
    (bundle.root / "blobs" / etag).unlink()
    (bundle.root / "blobs").rmdir()
    (bundle.root / "blobs").symlink_to(secret)
    assert bring(bundle.root, home, "--yes").code == 1
    shutil.move(bundle.root / "manifests", tmp_path / "elsewhere")
    (bundle.root / "manifests").symlink_to(tmp_path / "elsewhere")
    assert bring(bundle.root, home, "--yes").code == 1
    assert not list((home / "hub").rglob(etag)), "nothing of it came into the cache"


def test_a_pipe_is_not_waited_for(home: Path, tmp_path: Path, key: ServerKey) -> None:
    bundle = Bundle(tmp_path / "disk", key)
    manifest = bundle.revision("openai-community/gpt2", FILES)
    manifest.rename(tmp_path / "kept")
    os.mkfifo(manifest)
    assert bring(bundle.root, home, "--yes").code == 1
    (bundle.root / "llmpt-export.json").unlink()
    os.mkfifo(bundle.root / "llmpt-export.json")
    assert bring(bundle.root, home, "--yes").code == 1


def test_an_index_of_sixty_megabytes_fills_no_memory(home: Path, tmp_path: Path, key: ServerKey) -> None:
    bundle = Bundle(tmp_path / "disk", key)
    bundle.revision("openai-community/gpt2", FILES)
    (bundle.root / "llmpt-export.json").write_text('{"format": 1, "revisions": [' + '{"a":[[],[],[]]},' * 3_500_000 + "{}]}")
    done = bring(bundle.root, home, "--yes")
    assert done.code == 0
    assert done.memory < MEMORY


def test_a_manifest_of_sixty_megabytes_fills_no_memory(home: Path, tmp_path: Path) -> None:
    bundle = Bundle(tmp_path / "disk")
    manifest = bundle.revision("openai-community/gpt2", FILES)
    head = manifest.read_text().partition('"files"')[0]
    rows = ",".join(f'{{"path":"{number}","size":1,"etag":"{number:040x}","here":true}}' for number in range(700_000))
    manifest.write_text(f'{head}"files":[{rows}]}}')
    done = bring(bundle.root, home, "--yes", "--unsigned")
    assert done.code == 1
    assert "more than" in done.out
    assert done.memory < MEMORY


def test_a_list_that_is_larger_than_the_disk_is_refused_before_anything_is_written(
    home: Path, tmp_path: Path, key: ServerKey
) -> None:
    bundle = Bundle(tmp_path / "disk", key)
    bundle.revision("openai-community/gpt2", FILES)
    size = 1 << 50
    hole = bundle.root / "blobs" / ("a" * 64)
    hole.touch()
    try:
        os.truncate(hole, size)
    except OSError:
        size = 1 << 43  # what ext4 takes
        os.truncate(hole, size)
    rows = [{"path": "model.safetensors", "size": size, "etag": "a" * 64, "lfs": True, "here": True}]
    bundle.manifest("openai-community/gpt2", rows)
    done = bring(bundle.root, home, "--yes")
    assert done.code == 1
    assert "nothing was imported: make room" in done.out
    assert not (home / "hub").exists()


def test_a_hole_that_is_no_file_costs_the_cache_nothing_and_what_the_list_does_not_name_stays(
    home: Path, tmp_path: Path, key: ServerKey
) -> None:
    bundle = Bundle(tmp_path / "disk", key)
    bundle.revision("openai-community/gpt2", FILES)
    wrong = bundle.root / "blobs" / sha256(FILES["model.safetensors"]).hexdigest()
    wrong.write_bytes(b"")
    os.truncate(wrong, len(FILES["model.safetensors"]))
    (bundle.root / "blobs" / ("b" * 64)).write_bytes(b"extra")
    done = bring(bundle.root, home, "--yes")
    assert done.code == 1
    assert "is not what its name says" in done.out
    blobs = sorted(path.name for path in (home / "hub" / REPO / "blobs").iterdir())
    assert blobs == [sha256(FILES["config.json"]).hexdigest()]
