"""One quiet line on stderr, after the downloads: how much came from the LAN, how much from the Hub (or from
the server, where that is the Hub of this program).

It appears when no download has been under way for a moment, or at the end of the program; never with LLMPT_QUIET=1, and
only when something came from the LAN, or from this machine's own agent, or was read there in a stream, or was begun there and had
to be fetched from the Hub after all.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llmpt.hook.foreign import is_foreign
from llmpt.link.counted import Counted

QUIET_MOMENT_S = 1.0


@dataclass
class _Tally:
    active: int = 0  # downloads under way
    transfers: int = 0  # those of them that may get bytes from the LAN
    since: float = 0.0  # when the first of these began
    busy_s: float = 0.0
    lan_bytes: int = 0
    own_bytes: int = 0  # this machine's agent had them
    http_bytes: int = 0  # of these, from a server over plain HTTP
    hub_bytes: int = 0
    server_bytes: int = 0  # what HF_ENDPOINT gave, where it names the server
    machines: int = 0
    broken_off: int = 0
    files: int = 0
    questions: int = 0  # of the library's
    hub_questions: int = 0  # of these, those that went to the Hub
    streamed_bytes: int = 0  # read from the LAN, and not downloaded


class Summary:
    """Counts what downloads report, from any thread; says it when they have come to rest. A forked child starts at zero."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        note: Callable[[Counted], None] = lambda _counted: None,
        moment_s: float = QUIET_MOMENT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`note` is told of the questions since it was told last."""
        self._write, self._note, self._moment_s, self._clock = write, note, moment_s, clock
        self._reset()
        atexit.register(self.flush)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._is_saying = False
        self._rests_since = 0.0
        self._tally = _Tally()

    def close(self) -> None:
        """Say what there is to say, and stop listening to the end of the program."""
        self.flush()
        atexit.unregister(self.flush)

    def begin(self) -> None:
        """A download is under way: nothing is said until as many have ended as began."""
        with self._mine():
            self._tally.active += 1
            self._tally.files += 1

    def end(self) -> None:
        with self._mine():
            self._tally.active = max(0, self._tally.active - 1)
            if self._tally.active == 0 and (self._tally.hub_bytes or self._tally.server_bytes or self._worth_saying()):
                self._rests_since = time.monotonic()
                if not self._is_saying:
                    try:
                        start_new_thread(self._say_in_a_moment, ())  # a call that a signal cannot break in two
                    except RuntimeError as error:  # none to be had, as when the program ends: said at its very end
                        if is_foreign(error):
                            raise

    @contextmanager
    def lan_transfer(self) -> Iterator[None]:
        """Bytes may flow from the LAN: the rate is taken over the time in which at least one such transfer runs."""
        with self._mine():
            self._tally.transfers += 1
            if self._tally.transfers == 1:
                self._tally.since = self._clock()
        try:
            yield
        finally:
            with self._mine():
                self._tally.transfers = max(0, self._tally.transfers - 1)
                if self._tally.transfers == 0:
                    self._tally.busy_s += self._clock() - self._tally.since

    def from_lan(self, size_bytes: int, *, machines: int, by_http: int = 0) -> None:
        """`by_http` bytes of these came from a server over plain HTTP."""
        with self._mine():
            self._tally.lan_bytes += size_bytes
            self._tally.http_bytes += by_http
            self._tally.machines = max(self._tally.machines, machines)

    def from_here(self, size_bytes: int) -> None:
        """The agent of this machine had them, and no other machine gave any."""
        with self._mine():
            self._tally.own_bytes += size_bytes

    def from_hub(self, size_bytes: int, *, after_lan: bool = False, is_server: bool = False) -> None:
        """`after_lan`: its transfer from the LAN had begun, and broke off; `is_server`: the Hub that was asked is the server."""
        with self._mine():
            if is_server:
                self._tally.server_bytes += size_bytes
            else:
                self._tally.hub_bytes += size_bytes
            self._tally.broken_off += after_lan

    def asked(self, *, hub: bool) -> None:
        """A question of the library's went to the Hub, or was answered without it."""
        with self._mine():
            self._tally.questions += 1
            self._tally.hub_questions += hub

    def streamed(self, size_bytes: int) -> None:
        """A program has read so much from the LAN of what it does not download."""
        with self._mine():
            self._tally.streamed_bytes += size_bytes

    def flush(self) -> None:
        """Say it now, if there is something to say."""
        with self._mine():
            text = self._text() if self._worth_saying() else ""
            tally = self._tally
            counted = Counted(tally.questions - tally.hub_questions, tally.hub_questions, tally.streamed_bytes)
            self._tally = _Tally(self._tally.active, self._tally.transfers, since=self._clock())
        self._note(counted)
        if text:
            self._write(text)

    def _say_in_a_moment(self) -> None:
        """Say it when nothing has been under way for a moment; the next end starts another thread when something is."""
        with self._mine():
            if self._is_saying:
                return
            self._is_saying = True
        while True:
            with self._mine():
                left_s = self._rests_since + self._moment_s - time.monotonic()
                if self._tally.active or left_s <= 0:
                    self._is_saying = False
                    break
            time.sleep(left_s)
        if not self._tally.active:
            self.flush()

    def _mine(self) -> threading.Lock:
        if self._pid != os.getpid():  # in a forked child another thread of the parent may have held the lock
            self._reset()
        return self._lock

    def _worth_saying(self) -> bool:
        return (
            self._tally.lan_bytes > 0 or self._tally.own_bytes > 0 or self._tally.streamed_bytes > 0 or self._tally.broken_off > 0
        )

    def _text(self) -> str:
        parts = []
        if self._tally.lan_bytes:
            busy_s = self._tally.busy_s + (self._clock() - self._tally.since if self._tally.transfers else 0.0)
            details = [f"{self._tally.machines} machine{'s' * (self._tally.machines != 1)}"] if self._tally.machines else []
            details += [f"{human_bytes(self._tally.lan_bytes / busy_s)}/s"] if busy_s > 0 else []
            details += [f"{human_bytes(self._tally.http_bytes)} over HTTP"] if self._tally.http_bytes else []
            parts.append(f"{human_bytes(self._tally.lan_bytes)} from the LAN" + (f" ({', '.join(details)})" if details else ""))
        if self._tally.own_bytes:
            parts.append(f"{human_bytes(self._tally.own_bytes)} from this machine")
        if self._tally.streamed_bytes:
            parts.append(f"{human_bytes(self._tally.streamed_bytes)} read from the LAN in streams")
        if self._tally.hub_bytes:
            parts.append(f"{human_bytes(self._tally.hub_bytes)} from the Hub")
        if self._tally.server_bytes:
            parts.append(f"{human_bytes(self._tally.server_bytes)} from the server")
        if self._tally.broken_off:
            files = "a file" if self._tally.broken_off == 1 else f"{self._tally.broken_off} files"
            parts.append(f"the LAN broke off in the middle of {files}")
        if self._tally.questions > self._tally.hub_questions:
            asked, all_of_them = self._tally.hub_questions, self._tally.questions
            parts += [f"{self._tally.files} file{'s' * (self._tally.files != 1)}"] if self._tally.files else []
            parts.append(f"{asked or 'no'} request{'s' * (asked != 1)} to the Hub instead of {all_of_them}")
        return f"llmpt: {', '.join(parts)}"


def human_bytes(count: float) -> str:
    """Write a number of bytes as the library's bars do, in powers of 1000: 950 B, 91.3 MB, 210 MB."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        del units[0]
    return f"{count:.0f} {units[0]}" if count >= 99.95 or units[0] == "B" else f"{count:.1f} {units[0]}"


def write_to_stderr(line: str) -> None:
    """Write a line without tearing the progress bars that may be on the screen; nowhere, where there is no stderr."""
    if sys.stderr is None:
        return  # tqdm would take stdout, which is a program's own
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    try:
        if tqdm is not None:
            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is what the module is for
    except (OSError, ValueError):
        pass  # stderr is closed: no one would read it
