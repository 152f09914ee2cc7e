"""The manifest of an export, with the signature of the LAN's server and, where it was imported here once, with its origin's."""

from __future__ import annotations

import logging
from pathlib import Path

from llmpt.archive.folder import Signed
from llmpt.archive.hub_cache import CachedRepo
from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.core.repo import RepoRef
from llmpt.identity.keys import Forged
from llmpt.identity.statement import Signature
from llmpt.tracker.catalogue import Catalogue

log = logging.getLogger("llmpt")


def signed_manifest(catalogue: Catalogue, cache: Path, ref: RepoRef, revision: str) -> Signed:
    """Ask for a revision, and for the server's signature. Without a good one it is exported unsigned, and that is logged.

    Raises `TrackerUnavailable`, `TrackerRefused`.
    """
    manifest, said = catalogue.signed_manifest(ref, revision)
    bare = Signed(manifest)
    found: list[Signature] = []
    if said is None:
        log.warning("llmpt: the server does not sign: %s is exported unsigned, and imported with --unsigned only", ref)
    else:
        try:
            found.append(_verified(Signature.parse(said), bare))
        except (InvalidInput, Forged) as error:
            log.warning("llmpt: the server's signature of %s does not hold, it is exported unsigned: %s", ref, error)
    for one in CachedRepo(cache, ref).signatures(manifest.commit):
        if one.key not in {other.key for other in found}:
            try:
                found.append(_verified(one, bare))
            except Forged:
                continue  # of another list of files: the catalogue here knows more of the commit, or less
    return Signed(manifest, tuple(found))


def _verified(signature: Signature, signed: Signed) -> Signature:
    try:
        signature.verify(signed.content)
    except Forged:
        raise
    except LlmptError as error:  # no library: where it is imported, there is one
        log.debug("%s", error)
    return signature
