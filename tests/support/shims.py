"""Shims: small C libraries that stand before the C library's own functions in a process (LD_PRELOAD)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAME_SERVER_THAT_SWALLOWS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!real) real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strstr(node, "swallowed.example")) { sleep(40); return EAI_AGAIN; }
    return real(node, service, hints, res);
}
"""


def shim(source: str, folder: Path) -> str:
    """Compile a shim; return what LD_PRELOAD is to be. Skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    written, made = folder / "shim.c", folder / "shim.so"
    written.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(written), "-ldl"], check=True, timeout=60)
    return str(made)
