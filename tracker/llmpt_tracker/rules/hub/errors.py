"""The Hub's own ways to say no. Its clients read the status and `X-Error-Code`, and decide by them what to do next.

A 404 for a file *with* the commit is believed forever by them (`.no_exist`); so the commit is told only where the Hub itself
has said that it does not hold the file. What is merely not here is the same 404 without it.
"""

from __future__ import annotations

from llmpt.core.repo import RepoRef
from llmpt_tracker.errors import Refused, RefusedAsHub


def not_found() -> RefusedAsHub:
    """No such route."""
    return RefusedAsHub(404, "", "Not Found: llmpt serves what a download needs of the Hub, and no more")


def no_uploads() -> RefusedAsHub:
    """To what would change something."""
    return RefusedAsHub(403, "", "llmpt gives what its LAN holds and takes no uploads: without HF_ENDPOINT they go to the Hub")


def no_git(repo: RepoRef) -> RefusedAsHub:
    """To git and git-lfs."""
    return RefusedAsHub(
        403, "", f"llmpt speaks no git: `hf download {repo.id}` has the files of a commit from here, git has them from the Hub"
    )


def repo_not_found(repo: object) -> RefusedAsHub:
    """Nothing of that repo is in the catalogue, or it cannot be a repo's name."""
    return RefusedAsHub(404, "RepoNotFound", f"Repository Not Found: nothing of {repo!s:.200} is published on this LAN")


def owner_not_found(name: str) -> RefusedAsHub:
    """Nothing of that user or organization is in the catalogue."""
    return RefusedAsHub(404, "", f"Not Found: nothing of {name!s:.100} is published on this LAN")


def token_needed(why: Refused) -> RefusedAsHub:
    """Reading takes a token here, whatever is asked for: `why` says what is wrong with the asker's."""
    return RefusedAsHub(why.status, "GatedRepo", f"{why} (HF_TOKEN, or `token=`)")


def revision_not_found(repo: RepoRef, revision: str) -> RefusedAsHub:
    """The repo is in the catalogue, that revision of it is not."""
    return RefusedAsHub(
        404, "RevisionNotFound", f"Invalid rev id: {revision:.200}: {repo} is published on this LAN, but not that revision of it"
    )


def listing_unknown(repo: RepoRef, commit: str) -> RefusedAsHub:
    """To clients that would keep a partial listing forever."""
    return RefusedAsHub(
        404,
        "RevisionNotFound",
        f"{repo}@{commit[:12]} is known in part on this LAN, and this version of huggingface_hub (1.22 to 1.25) would take what "
        "is listed for the whole, forever: use huggingface_hub 1.26 or newer, or name single files (hf_hub_download)",
    )


def entry_not_found(path: str, *, commit: str | None) -> RefusedAsHub:
    """There is no such file. `commit`: the Hub itself has said so of that commit; None: that is not known here."""
    known = f"{commit[:12]} does not hold it" if commit else "not known on this LAN"
    return RefusedAsHub(404, "EntryNotFound", f"Entry not found: {path:.300} ({known})", commit=commit)


def bytes_not_here(path: str) -> RefusedAsHub:
    """The file is known of; no machine of the LAN that is on now gives its bytes (over HTTP, to a client that asked for them)."""
    return RefusedAsHub(
        404, "EntryNotFound", f"Entry not found: {path:.300} is listed, but no machine on this LAN gives its bytes now"
    )
