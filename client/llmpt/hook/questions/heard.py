"""What the Hub has answered, and how it differs from what the LAN has said of the same file."""

from __future__ import annotations

from dataclasses import dataclass

from llmpt.core.blob import Etag
from llmpt.hook.call import Call, Proof
from llmpt.hook.questions.question import Question

TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Heard:
    """What matters of an answer of the Hub's.

    commit, etag, size: what it names
    retry_after_s: for how long it asks to be left alone
    is_absence: there is no such file, it says
    """

    status: int
    commit: str | None = None
    retry_after_s: float | None = None
    etag: Etag | None = None
    size: int | None = None
    is_absence: bool = False

    @property
    def is_failure(self) -> bool:
        return self.status == TOO_MANY or self.status >= 500


def is_of_the_lans_word(call: Call, question: Question, heard: Heard) -> bool:
    """Whether the Hub is asked for the bytes of a file of which the LAN has said what it is, and that is all that says so."""
    is_wanted = question.method == "GET" and question.is_of_file and call.told_by_lan and call.etag is not None
    return is_wanted and call.proof is not Proof.AS_IT_COMES and (heard.status < 400 or heard.is_absence)


def otherwise(call: Call, heard: Heard) -> str | None:
    """Return in words what the Hub says of the file that differs; None: nothing, or it does not say."""
    if heard.is_absence:
        return "and the Hub has no such file"
    if heard.etag is None or (heard.etag == call.etag and heard.size in (None, call.size)):
        return None
    return f"and {heard.etag}, {'?' if heard.size is None else heard.size} bytes, for the Hub"
