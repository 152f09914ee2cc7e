"""The LAN's manifests, as far as they answer for one Hub and this host trusts them: what is believed is noted, for the agent to
hold it against the Hub.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from llmpt.core.hub_target import hub_name
from llmpt.core.repo import RepoRef
from llmpt.hook.questions.knowledge import Manifests
from llmpt.link import answered
from llmpt.link.answered import Answered
from llmpt.tracker.catalogue import Manifest

log = logging.getLogger("llmpt")

MAX_NOTED = 1000


class TrustedManifests:
    """Asks `manifests`, in place of the Hub at `hub`.

    What is said for another Hub does not answer, nor where the agent found that the LAN says of a repo what the Hub does not.
    """

    def __init__(self, manifests: Manifests, *, hub: str, environ: Mapping[str, str]) -> None:
        self._manifests, self._hub, self._environ = manifests, hub, environ
        self._noted: set[Answered] = set()

    def manifest(self, ref: RepoRef, revision: str) -> Manifest:
        """See `Manifests`."""
        return self._held(self._manifests.manifest(ref, revision))

    def refreshed_manifest(self, ref: RepoRef, revision: str) -> Manifest:
        """See `Manifests`."""
        return self._held(self._manifests.refreshed_manifest(ref, revision))

    def doubt(self, repo: RepoRef, commit: str, path: str, words: str) -> None:
        """Believe the LAN about a repo no more on this host, and have the agent look at the file."""
        answered.doubt(self._environ, Answered(self._hub, repo, commit, path), words)

    def _held(self, manifest: Manifest) -> Manifest:
        if not (manifest.open and manifest.complete):
            return manifest
        if manifest.hub != hub_name(self._hub):
            log.debug("%s: the LAN answers for %s, not for %s", manifest.ref, manifest.hub or "no Hub that it names", self._hub)
            return replace(manifest, open=False)
        one = Answered(self._hub, manifest.ref, manifest.commit.value)
        if answered.distrusted(self._environ, one.endpoint, one.repo):
            log.debug("%s: the LAN's answers differed from the Hub's, which is asked", one.repo)
            return replace(manifest, open=False)
        if one not in self._noted and len(self._noted) < MAX_NOTED:
            self._noted.add(one)
            answered.note(self._environ, one)
        return manifest
