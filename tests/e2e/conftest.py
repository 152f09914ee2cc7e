"""What the end-to-end tests stand on: images built once, a Hub cache made by hand, and a universe of containers."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytest

from tests.e2e.images import build
from tests.e2e.worlds import MINILM, Model, Server, Universe
from tests.support import minilm
from tests.support.cache_builder import CacheBuilder, git_sha1, lfs_sha256
from tests.support.compose import Compose, engine, keep
from tests.support.waiting import eventually


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(1200))  # the first one waits for the images, which may come over a slow line


@runtime_checkable
class HasLogs(Protocol):
    """A fixture whose containers print something worth keeping."""

    def logs(self) -> str: ...


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        printed = [fixture.logs() for fixture in getattr(item, "funcargs", {}).values() if isinstance(fixture, HasLogs)]
        if printed:
            report.sections.append(("containers", f"what they printed is in {keep(''.join(printed), item.nodeid)}"))
    return report


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Any]:
    client = engine()
    yield client
    client.close()


@pytest.fixture(scope="session")
def images(docker_engine: Any) -> None:
    """Build the images from this checkout."""
    build()


@pytest.fixture(scope="session")
def hub_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub cache with a model of random bytes and a real one, as downloads would have left it."""
    cache = tmp_path_factory.mktemp("server") / "hub"
    cache.mkdir()
    minilm.lay_out(cache)
    return cache


@pytest.fixture(scope="session")
def dummy(hub_cache: Path) -> Model:
    """5 MB of random bytes and two small files, laid out by hand."""
    contents = {
        "dummy_model.bin": os.urandom(5_000_000),
        "config.json": b'{"architectures": ["Dummy"]}\n',
        "nested/folder/README.md": b"# Dummy\n",
    }
    commit = CacheBuilder(hub_cache).repo("acme/dummy-model").commit(contents, lfs={"dummy_model.bin"})
    etags = {path: lfs_sha256(data) if path.endswith(".bin") else git_sha1(data) for path, data in contents.items()}
    return Model("acme/dummy-model", commit, {path: (len(data), etags[path]) for path, data in contents.items()})


@pytest.fixture(scope="module")
def universe(docker_engine: Any, images: None, hub_cache: Path, dummy: Model) -> Iterator[Universe]:
    with Compose(docker_engine, "compose.yaml", "e2e.yaml", HF_HUB_CACHE=str(hub_cache)) as compose:
        made = Universe(compose, (dummy, MINILM))
        made.start()
        yield made


@pytest.fixture(scope="session")
def server(docker_engine: Any, images: None, hub_cache: Path, dummy: Model) -> Iterator[Server]:
    made = Server(docker_engine, hub_cache)
    with made.compose:
        made.compose.up()
        eventually(lambda: made.seeders_of(dummy), timeout_s=60, what="a seeder for the model")
        yield made
