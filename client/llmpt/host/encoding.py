"""How this process reads the names of files: a server reads them as UTF-8, whatever locale it was started in.

In a Hub cache they are the Hub's, which are UTF-8. A Python in a Latin-1 locale would read other names of the same bytes, and
a server would publish those.
"""

from __future__ import annotations

import os
import sys


def read_names_as_utf8() -> None:
    """Begin anew, as the same process, in Python's UTF-8 mode, unless names are read so already; its children will, too."""
    is_tried = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() == "utf-8" or is_tried or not sys.executable:
        return
    command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606
