"""Words that a stranger chose, made fit to be shown: a name in a table, a reason in a log, a line on a terminal.

A terminal obeys control characters (escape sequences move its cursor, set its title, type for its user), and bidirectional
ones show a text in another order than it has.
"""

from __future__ import annotations

LONGEST = 500


def plain(text: object, *, longest: int = LONGEST) -> str:
    """Return one printable line of at most so many characters: what is not printable becomes `?`."""
    return _shown(str(text)[:longest])


def plain_lines(text: str) -> str:
    """Return the same lines, each of them printable."""
    return text if text.isprintable() else "\n".join(map(_shown, text.replace("\t", " ").split("\n")))


def _shown(line: str) -> str:
    return line if line.isprintable() else "".join(char if char.isprintable() else "?" for char in line)
