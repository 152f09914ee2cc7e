"""How long a job waits for what, and what is worth what."""

from __future__ import annotations

from dataclasses import dataclass

from llmpt.core.slowness import LONG_S, TIMES_SLOWER, WINDOW_S


@dataclass(frozen=True, slots=True)
class JobTimings:
    """Seconds, but for the last three.

    `stall_s`: without a byte for so long a download stands still (LLMPT_STALL_TIMEOUT)
    `connect_s`: by then a peer must have answered
    `look_again_s`: without a byte for so long, more sources are looked for
    `http_again_s`: after so long a silent web seed is connected anew, and a seeder's HTTP that was not to be had asked for again
    `passed_over_s`: for so long the tracker may answer without saying which machine fetches a blob
    `long_s`: a machine that needs longer for what it fetches is not waited for blindly, as long as the Hub's rate is not known
    `begin_s`: by then the program that is to fetch for all must have begun
    `still_s`: others of the machine wait no longer for a program that fetches for all, when its file has not grown for so long
    `window_s`: rates are compared over such windows
    `longest_step_s`: of the time between two looks at the session no more counts as time in which it ran
    `progress_s`, `keep_alive_s`: between two reports to a hook, when there is something new and when there is not
    `growth_s`: between two looks at a file that the library writes
    `wrong_s`: what the swarm has under an etag is not tried again for so long, when it was not the etag's content
    `repo_lacked_s`: for so long a repo of which the LAN lacked a file is taken to be lacking others
    `times_slower`: the LAN is too slow below this fraction of the ordinary path's rate; the Internet is the dearer way
    `times_longer`: at most so many stall time-outs does a blob wait while others of the machine get on
    `worth_http_bytes`: a smaller blob of a single seeder is not asked for over HTTP beside BitTorrent
    """

    stall_s: float = 5.0
    connect_s: float = 3.0
    look_again_s: float = 1.5
    http_again_s: float = 2.5
    passed_over_s: float = 8.0
    long_s: float = LONG_S
    begin_s: float = 10.0
    still_s: float = 30.0
    window_s: float = WINDOW_S
    longest_step_s: float = 1.0
    progress_s: float = 0.1
    keep_alive_s: float = 1.0
    growth_s: float = 0.2
    wrong_s: float = 600.0
    repo_lacked_s: float = 10.0
    times_slower: float = TIMES_SLOWER
    times_longer: float = 6.0
    worth_http_bytes: int = 16 << 20
