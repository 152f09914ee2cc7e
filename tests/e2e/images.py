"""The images that the end-to-end tests run, built from this checkout; as a program: beforehand, while other things go on."""

from __future__ import annotations

from tests.support.compose import Compose


def build() -> None:
    """Return when every image is there; in a second when nothing has changed."""
    Compose(None, "compose.yaml", "e2e.yaml", "offline.yaml", HF_HUB_CACHE="/").build()


if __name__ == "__main__":
    build()
