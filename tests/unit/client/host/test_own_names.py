"""The names that a machine has by its own settings."""

from __future__ import annotations

import socket
from pathlib import Path

from llmpt.host.own_names import own_names


def test_names_below_the_domains_of_the_resolver_are_own_ones_but_not_of_a_whole_top_level(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# search x.y\nsearch lab.example.com com corp.example.com.\nnameserver 10.0.0.1\n")
    assert own_names(conf) == (socket.gethostname(), "*.lab.example.com", "*.corp.example.com")


def test_a_machine_without_that_file_has_its_host_name(tmp_path: Path) -> None:
    assert own_names(tmp_path / "none") == (socket.gethostname(),)
