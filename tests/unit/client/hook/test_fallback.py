"""Which stretches are fetched from the Hub, and what the library's download function is given to write into."""

from __future__ import annotations

import errno
import os
import random
import types
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llmpt.hook import fallback
from llmpt.hook.fallback import MOST_REQUESTS, DiskFull, NotInParts, missing
from llmpt.hook.library import Asked
from llmpt.link.answers import Ranges

CONTENT = bytes(range(250))
ASKED = {"url_to_download": "http://hub/f", "headers": {"authorization": "Bearer x"}}


@pytest.mark.parametrize(
    ("have", "gaps"),
    [
        ((), ((0, 10_000),)),
        (((0, 6_000),), ((6_000, 10_000),)),
        (((4_000, 10_000),), ((0, 4_000),)),
        (((0, 10_000),), ()),
        (((100, 200), (300, 400)), ((0, 100), (200, 300), (400, 10_000))),
        (((0, 10), (9_990, 10_000)), ((10, 9_990),)),
        (((100, 110), (5_000, 6_000)), ((0, 100), (110, 5_000), (6_000, 10_000))),
        (((100, 101), (5_000, 6_000)), ((0, 5_000), (6_000, 10_000))),  # one byte is not worth a request
    ],
)
def test_what_is_missing_is_fetched_in_few_stretches(have: Ranges, gaps: Ranges) -> None:
    assert missing(have, 10_000) == gaps


def test_few_islands_cost_no_more_than_a_fraction_of_the_file() -> None:
    size = 1 << 26
    have = tuple((start, start + (size >> 10)) for start in range(size >> 5, size, size >> 5))
    assert len(have) == MOST_REQUESTS - 1
    assert sum(stop - start for start, stop in missing(have, size)) == size - sum(stop - start for start, stop in have)


def test_however_many_islands_there_are_the_hub_is_asked_few_times_for_what_lies_between_the_largest() -> None:
    size = 1 << 30
    some = random.Random(1)
    starts = range(0, size - size // 500, size // 500)
    have = tuple((start, start + some.randrange(1, size // 500)) for start in starts)
    gaps = missing(have, size)
    assert len(gaps) == MOST_REQUESTS
    lost = [stop - start for start, stop in have if any(gap[0] <= start and stop <= gap[1] for gap in gaps)]
    kept = [stop - start for start, stop in have[1:] if not any(gap[0] <= start and stop <= gap[1] for gap in gaps)]
    assert len(lost) + len(kept) == len(have) - 1
    assert max(lost) <= min(kept)
    covered = sorted([*gaps, *(one for one in have if not any(gap[0] <= one[0] and one[1] <= gap[1] for gap in gaps))])
    assert covered[0][0] == 0
    assert covered[-1][1] == size
    assert all(one[1] == other[0] for one, other in pairwise(covered)), "no byte is left out"


class Library(types.ModuleType):
    """With an `http_get` of the shape of huggingface_hub's, and answers as told."""

    def __init__(self) -> None:
        super().__init__("file_download")
        self.ranges: list[str] = []
        self.answers: list[Callable[[Any, bytes], None]] = []

    def http_get(
        self,
        url: str,
        temp_file: Any,
        *,
        resume_size: int = 0,
        headers: Any = None,
        expected_size: int,
        _nb_retries: int,
        _tqdm_bar: Any,
    ) -> None:
        self.ranges.append(headers["Range"])
        start, stop = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        data = CONTENT[start : stop + 1]
        assert len(data) == expected_size
        if self.answers:
            self.answers.pop(0)(temp_file, data)
            return
        _tqdm_bar.update(len(data))
        temp_file.write(data)
        assert temp_file.tell() == expected_size
        _tqdm_bar.close()


@pytest.fixture
def library() -> Library:
    return Library()


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "partial", os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, CONTENT[:100], 0)
    yield descriptor
    os.close(descriptor)


def breaks_off(window: Any, data: bytes) -> None:
    window.write(data[:20])
    raise ConnectionError("reset")


def refuses(_window: Any, _data: bytes) -> None:
    error = OSError("403")
    error.response = types.SimpleNamespace(status_code=403)  # type: ignore[attr-defined]
    raise error


def unreachable(_window: Any, _data: bytes) -> None:
    raise ConnectionError("no route")


def the_whole(window: Any, _data: bytes) -> None:
    window.write(CONTENT)


def nothing(_window: Any, _data: bytes) -> None:
    pass


def fetch(library: Library, partial: int, *gaps: tuple[int, int]) -> int:
    count = 0

    def on_bytes(some: int) -> None:
        nonlocal count
        count += some

    fallback.fetch(Asked(library, ASKED), partial, gaps, on_bytes=on_bytes, pause_s=0)
    return count


def test_each_stretch_lands_in_its_place(library: Library, partial: int) -> None:
    assert fetch(library, partial, (100, 150), (150, 250)) == 150
    assert os.pread(partial, 1000, 0) == CONTENT
    assert library.ranges == ["bytes=100-149", "bytes=150-249"]


def test_a_stretch_is_taken_up_where_it_broke_off(library: Library, partial: int) -> None:
    library.answers = [breaks_off, unreachable, unreachable, breaks_off]
    assert fetch(library, partial, (100, 250)) == 150
    assert os.pread(partial, 1000, 0) == CONTENT
    assert library.ranges == ["bytes=100-249", *["bytes=120-249"] * 3, "bytes=140-249"]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([refuses], "403"), ([unreachable] * 3, "no route"), ([the_whole], "no parts|not give parts"), ([nothing], "nothing")],
)
def test_what_cannot_be_had_in_parts_is_left_to_the_library(
    library: Library, partial: int, answers: list[Callable[[Any, bytes], None]], reason: str
) -> None:
    library.answers = list(answers)
    with pytest.raises(NotInParts, match=reason):
        fetch(library, partial, (100, 200))
    assert os.pread(partial, 100, 0) == CONTENT[:100]


def test_a_full_disk_is_told_from_a_broken_connection(library: Library, partial: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFull, match="No space left"):
        fetch(library, partial, (100, 250))
    assert len(library.ranges) == 1


def test_an_interruption_is_passed_on(library: Library, partial: int) -> None:
    def interrupt(_window: Any, _data: bytes) -> None:
        raise KeyboardInterrupt

    library.answers = [interrupt]
    with pytest.raises(KeyboardInterrupt):
        fetch(library, partial, (100, 250))


@pytest.mark.parametrize(
    ("more", "asked", "size", "reason"),
    [
        ({}, {}, 10, None),
        ({"is_xet_available": lambda: True}, {"xet_file_data": object()}, 10, "Xet"),
        ({"is_xet_available": lambda: True}, {"xet_file_data": None}, 10, None),
        ({"is_xet_available": lambda: False}, {"xet_file_data": object()}, 10, None),
        ({}, {}, 51_000_000_000, "too large"),
        ({"constants": types.SimpleNamespace(MAX_HTTP_DOWNLOAD_SIZE=100)}, {}, 101, "too large"),
        ({"constants": types.SimpleNamespace(HF_HUB_ENABLE_HF_TRANSFER=True)}, {}, 10, "hf_transfer"),
        ({"HF_HUB_ENABLE_HF_TRANSFER": True}, {}, 10, "hf_transfer"),
        ({"http_get": lambda url, temp_file: None}, {}, 10, "not known"),
    ],
)
def test_the_library_has_to_do_it_where_it_does_it_in_a_way_of_its_own(
    library: Library, more: dict[str, Any], asked: dict[str, Any], size: int, reason: str | None
) -> None:
    for name, value in more.items():
        setattr(library, name, value)
    found = fallback.why_not(Asked(library, asked), size)
    assert found == reason or (reason and found and reason in found)
