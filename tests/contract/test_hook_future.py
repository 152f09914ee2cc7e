"""A huggingface_hub of tomorrow, in which something is no longer as we know it: the hook stays out, and one line says so."""

from __future__ import annotations

from tests.contract.conftest import NEWEST_HUB_VERSION
from tests.support.environments import environment
from tests.support.hub import FakeHub
from tests.support.workstation import Workstation

# What a version may do to the module `fd`, and what we say of it.
CHANGES = {
    "del fd._chmod_and_move": "it has no _chmod_and_move",
    "del fd._download_to_tmp_and_move": "it has no _download_to_tmp_and_move",
    "del fd._get_metadata_or_catch_error": "it has no _get_metadata_or_catch_error",
    "fd._hf_hub_download_to_cache_dir = None": "it has no _hf_hub_download_to_cache_dir",
    "fd._download_to_tmp_and_move = lambda url, where: None": "takes no destination_path",
    "fd._hf_hub_download_to_local_dir = lambda **kwargs: None": "_hf_hub_download_to_local_dir takes no filename",
    """
def _hf_hub_download_to_cache_dir(*, repo_id, repo_type, revision, filename, **more): return fetch_bytes(filename)
fd._hf_hub_download_to_cache_dir = _hf_hub_download_to_cache_dir
""": "_hf_hub_download_to_cache_dir doesn't call _download_to_tmp_and_move",
    """
def _hf_hub_download_to_local_dir(*, repo_id, repo_type, revision, filename, **more):
    return fd._download_to_tmp_and_move(filename)
fd._hf_hub_download_to_local_dir = _hf_hub_download_to_local_dir
""": "_hf_hub_download_to_local_dir doesn't call _download_to_tmp_and_move and _get_metadata_or_catch_error",
    """
async def _download_to_tmp_and_move(
    incomplete_path, destination_path, url_to_download, headers, expected_size, filename, force_download
): pass
fd._download_to_tmp_and_move = _download_to_tmp_and_move
""": "_download_to_tmp_and_move is asynchronous",
    """
import functools
true = fd._hf_hub_download_to_local_dir
@functools.wraps(true)
async def changed(**kwargs): return true(**kwargs)
fd._hf_hub_download_to_local_dir = changed
""": "_hf_hub_download_to_local_dir is asynchronous",
    """
async def _get_metadata_or_catch_error(**kwargs): pass
fd._get_metadata_or_catch_error = _get_metadata_or_catch_error
""": "_get_metadata_or_catch_error is asynchronous",
}
EACH_CHANGE = f"""
import json, logging
import llmpt
llmpt.disable_p2p()
import huggingface_hub.file_download as fd
vanilla, said = dict(vars(fd)), []
class Keep(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("llmpt").addHandler(Keep())
outcome = []
for change in {list(CHANGES)!r}:
    exec(change, {{"fd": fd}})
    changed = dict(vars(fd))
    enabled = llmpt.enable_p2p() or llmpt.is_enabled() or dict(vars(fd)) != changed
    outcome.append([change, enabled, list(said)])
    vars(fd).clear()
    vars(fd).update(vanilla)
    said.clear()
outcome.append(["nothing", llmpt.enable_p2p(), list(said)])
print(json.dumps(outcome))
"""


def test_a_version_that_has_changed_is_left_alone_and_one_line_says_why(workstation: Workstation) -> None:
    *changed, unchanged = workstation.run(EACH_CHANGE).result
    assert unchanged == ["nothing", True, []], "the test leaves no trace of its changes"
    for change, enabled, said in changed:
        assert not enabled, change
        (line,) = said
        assert line.startswith("llmpt is inert with huggingface_hub"), change
        assert CHANGES[change] in line


def test_a_program_on_a_version_of_tomorrow_runs_as_without_us(hub: FakeHub) -> None:
    """Through the door that every program goes through, not by a call."""
    workstation = Workstation(environment(NEWEST_HUB_VERSION), hub)
    package = workstation.home / "tomorrow" / "huggingface_hub"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '9.1.0'\n")
    (package / "file_download.py").write_text("async def hf_hub_download(repo_id, filename): return filename\n")
    script = """
import asyncio, json, sys
sys.path.insert(0, "tomorrow")
from huggingface_hub.file_download import hf_hub_download
print(json.dumps(asyncio.run(hf_hub_download("org/model", "a.bin"))))
"""
    run = workstation.run(script)
    assert run.result == "a.bin"
    (line,) = run.err.strip().splitlines()
    assert line.startswith("llmpt is inert with huggingface_hub 9.1.0: it has no _download_to_tmp_and_move")
    workstation.close()
