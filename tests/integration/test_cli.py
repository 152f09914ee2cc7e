"""The commands of a workstation, typed as a person does, against a real tracker, seeder and agent."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

from llmpt.core.repo import RepoRef
from tests.support.lan import BIG, Lan
from tests.support.machine import Machine
from tests.support.screen import LEAVE, Screen
from tests.support.waiting import eventually

SMALL = {"config.json": b'{"a": 1}'}


def publish(lan: Lan, repo: str) -> dict[str, bytes]:
    files = {"model.bin": os.urandom(2 * BIG), **SMALL}
    lan.hub.add(repo, files)
    lan.mirror(repo)
    lan.seeded(repo)
    return files


def said(machine: Machine, *arguments: str, **environ: str) -> dict[str, Any]:
    """What a command says with --json."""
    answer: dict[str, Any] = json.loads(machine.run("-m", "llmpt", *arguments, "--json", check=True, **environ).stdout)
    return answer


def error(machine: Machine, *arguments: str, code: int = 1, **environ: str) -> str:
    """What a command says that fails: never a traceback."""
    ended = machine.run("-m", "llmpt", *arguments, check=False, **environ)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_download_takes_a_repo_from_the_lan_and_status_tells_where_it_came_from(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    lan.hub.mode.refuse_bytes_over = BIG
    folder = Path(ann.llmpt("download", repo).strip())
    assert {name: (folder / name).read_bytes() for name in files} == files
    into = said(ann, "download", repo, "--include", "*.bin", "--local-dir", "here")["folder"]
    assert [path.name for path in Path(into).iterdir() if path.is_file()] == ["model.bin"]
    assert lan.hub.gets("model.bin") == 0

    found = said(ann, "status")
    assert found["today"]["lan_bytes"] == 2 * BIG
    assert found["today"]["by_machine"] == {"127.0.0.1": 2 * BIG}
    assert found["seeding"][0]["to"] == []
    shown = ann.llmpt("status")
    assert f"{repo}/model.bin" in shown
    assert "2.1 MB from 127.0.0.1" in shown
    moment = re.compile(r"^down .*$", re.MULTILINE)  # the rates, counts and peers of a moment
    assert moment.sub("", ann.llmpt("agent", "status")) == moment.sub("", shown)


def test_what_the_hub_refuses_is_told_in_a_sentence(lan: Lan, ann: Machine) -> None:
    lan.hub.add("org/gated-for-all", {"model.bin": b"x"}, gated=True)
    assert "org/gated-for-all is gated: ask for access" in error(ann, "download", "org/gated-for-all")
    assert "org/nowhere is not on the Hub" in error(ann, "download", "org/nowhere")
    lan.hub.add("org/one-branch", {"model.bin": b"x"})
    assert "has no such revision" in error(ann, "download", "org/one-branch", "--revision", "v9")
    assert "not a repo id" in error(ann, "download", "a/b/c")
    assert "the Hub does not answer" in error(ann, "download", "org/nowhere", HF_ENDPOINT="http://127.0.0.1:9")


def test_ls_lists_searches_and_shows_the_files_of_a_repo(lan: Lan, ann: Machine, repo: str) -> None:
    publish(lan, repo)
    rows = said(ann, "ls", repo.removeprefix("org/"))["repos"]
    assert [(row["repo_type"], row["repo_id"]) for row in rows] == [("model", repo)]
    assert rows[0]["revisions"][0]["size_bytes"] == 2 * BIG + len(SMALL["config.json"])
    assert repo in ann.llmpt("ls")
    assert "has nothing with 'no-such-word'" in ann.llmpt("ls", "no-such-word")
    files = {row["path"]: row["seeders"] for row in said(ann, "ls", "--repo", repo)["files"]}
    assert files == {"model.bin": 1, "config.json": None}
    assert "model.bin" in ann.llmpt("ls", "--repo", repo)
    assert f"the LAN does not have {repo} at v9" in error(ann, "ls", "--repo", repo, "--revision", "v9")


def test_seed_shares_what_the_catalogue_lists_and_nothing_else(lan: Lan, ann: Machine, repo: str) -> None:
    """A machine that has a repo from the Hub offers it, and another gets it when the server's seeder is gone."""
    ann.environ["LLMPT_UPLOAD_LIMIT"] = "600K"  # time enough to see to whom
    files = publish(lan, repo)
    lan.hub.add(f"{repo}-unlisted", {"other.bin": os.urandom(2 * BIG)})
    for name in (repo, f"{repo}-unlisted"):
        ann.run("-m", "llmpt", "download", name, HF_USE_P2P="0")
    assert lan.hub.gets("model.bin") == 1
    lan.hub.forget()

    rows = said(ann, "seed", repo)["files"]
    assert [(row["seeded"], row["reason"]) for row in rows] == [(True, "")]
    refused = ann.run("-m", "llmpt", "seed", f"{repo}-unlisted", check=False)
    assert refused.returncode == 1
    assert "not in the tracker's catalogue" in refused.stdout
    lan.seeder.stop()
    lan.hub.mode.refuse_bytes_over = BIG
    eventually(lambda: lan.torrents(repo)[0].seeders == 1, timeout_s=20, what="the announce of what is seeded")
    with lan.machine("bob") as bob:
        download = bob.start_download(repo)
        to = eventually(lambda: said(ann, "status")["seeding"][0]["to"], timeout_s=30, what="somebody who takes it")
        assert to[0]["address"] == "127.0.0.1"
        assert to[0]["rate_bytes_s"] > 0
        out, err = download.communicate(timeout=60)
        assert (Path(out.strip().splitlines()[-1]) / "model.bin").read_bytes() == files["model.bin"], err
    assert lan.hub.gets("model.bin") == 0

    assert "1 file no longer seeded" in ann.llmpt("unseed", repo)
    assert said(ann, "status")["seeding"] == []
    assert "nothing is seeded" in error(ann, "unseed", "--all")


def test_seed_knows_a_file_by_its_content_and_refuses_one_that_changed(lan: Lan, ann: Machine, repo: str) -> None:
    files = publish(lan, repo)
    copy = ann.root / "a copy of it.bin"
    copy.write_bytes(files["model.bin"])
    ann.llmpt("seed", str(copy))
    assert said(ann, "status")["seeding"][0]["path"] == str(copy)
    ann.llmpt("unseed", str(ann.root))
    rotten = ann.root / lan.torrents(repo)[0].etag  # named like the blob, and not it
    rotten.write_bytes(os.urandom(2 * BIG))
    ended = ann.run("-m", "llmpt", "seed", str(rotten), check=False)
    assert (ended.returncode, "content is not that of etag" in ended.stdout) == (1, True)
    assert "neither a file here nor the name of a repo" in error(ann, "seed", "./no such file")
    assert "LLMPT_SHARE is off" in error(ann, "seed", str(copy), LLMPT_SHARE="off")
    assert "is not in the Hub cache" in error(ann, "seed", "org/never-downloaded")


def test_join_checks_the_tracker_and_writes_the_config_file(lan: Lan, repo: str) -> None:
    publish(lan, repo)
    with Machine("new", tracker=None, hub=lan.hub.url) as new:
        file = new.root / ".config" / "llmpt" / "config.toml"
        file.parent.mkdir(parents=True)
        file.write_text('# mine\nLLMPT_QUIET = true\n\n[other]\nkey = "kept"\n')
        assert "no tracker is set" in error(new, "ls")
        assert "no answer from the tracker" in error(new, "join", "http://127.0.0.1:9")
        assert lan.hub.url in error(new, "join", lan.hub.url)
        assert "LLMPT_TRACKER" not in file.read_text()

        shown = new.llmpt("join", lan.tracker.url)
        assert "What happens next" in shown
        assert "llmpt leave" in shown
        assert file.read_text() == f'# mine\nLLMPT_QUIET = true\n\nLLMPT_TRACKER = "{lan.tracker.url}"\n[other]\nkey = "kept"\n'
        lan.hub.mode.refuse_bytes_over = BIG
        new.download(repo)
        assert lan.hub.gets("model.bin") == 0

        again = said(new, "join", lan.tracker.url, LLMPT_TRACKER="http://elsewhere:8000")
        assert not again["changed"]
        assert "in the environment wins" in again["notes"][0]
        new.llmpt("leave")
        assert file.read_text() == '# mine\nLLMPT_QUIET = true\n\n[other]\nkey = "kept"\n'


def test_join_without_an_address_uses_nothing_that_nobody_agreed_to(lan: Lan) -> None:
    with Machine("new", tracker=None, hub=lan.hub.url) as new:
        assert "LLMPT_DISCOVERY=0 forbids" in error(new, "join", LLMPT_DISCOVERY="0")
        assert not (new.root / ".config" / "llmpt").exists()


def test_config_show_says_what_is_set_and_where(lan: Lan, ann: Machine) -> None:
    file = ann.root / ".config" / "llmpt" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('LLMPT_STALL_TIMEOUT = 7\nLLMPT_TRACKER = "http://not-this-one:8000"\n')
    rows = {row["name"]: (row["value"], row["from"]) for row in said(ann, "config", "show")["settings"]}
    assert rows["LLMPT_TRACKER"] == (lan.tracker.url, "environment")
    assert rows["LLMPT_STALL_TIMEOUT"] == ("7", str(file))
    assert rows["LLMPT_QUIET"] == ("0", "default")
    bad = ann.run("-m", "llmpt", "config", "show", check=False, LLMPT_PEER_PORT="a port")
    assert bad.returncode == 1
    assert "LLMPT_PEER_PORT='a port' cannot be used" in bad.stdout
    assert "LLMPT_PEER_PORT='a port' cannot be used" in error(ann, "status", LLMPT_PEER_PORT="a port")


def test_ctrl_c_ends_a_command_with_130_and_without_a_traceback(lan: Lan, ann: Machine, repo: str) -> None:
    lan.hub.add(repo, {"model.bin": os.urandom(4 * BIG)})
    lan.hub.mode.throttle_bytes_s = 200_000
    process = ann.start("-m", "llmpt", "download", repo)
    eventually(lambda: lan.hub.gets("model.bin") == 1, timeout_s=30, what="the download to begin")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_status_goes_on_while_the_agent_starts_anew_and_ends_with_ctrl_c(lan: Lan, ann: Machine, repo: str) -> None:
    publish(lan, repo)
    ann.environ["LLMPT_DOWNLOAD_LIMIT"] = "200K"
    ann.llmpt("agent", "start")
    with Screen(ann, "-m", "llmpt", "status", "--watch") as screen:
        eventually(lambda: f"agent {ann.status()['pid']} · tracker" in screen.shown(), what="the agent on the screen")
        ann.kill_agent()
        eventually(lambda: "it starts with the first download" in screen.shown(), what="its end on the screen")
        with ann.start_download(repo) as download:  # which starts the next agent
            line = re.compile(rf"{repo}/model\.bin.*━.* of 2\.1 MB.*/s.*1 machine")
            eventually(lambda: line.search(re.sub(r"\x1b\[[0-9;]*m", "", screen.shown())), what="a bar on the screen")
            download.terminate()
            download.communicate(timeout=60)
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(30) == 0
        assert b"Traceback" not in screen.written()
        assert LEAVE in screen.written()


def test_the_agent_has_metrics_where_that_is_asked_for_and_a_taken_port_is_said(lan: Lan, ann: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ann.run("-m", "llmpt", "agent", "start", LLMPT_AGENT_METRICS_PORT=str(port))
        assert f"port {port} on loopback" in ann.llmpt("status")
        ann.stop_agent()
    ann.run("-m", "llmpt", "agent", "start", LLMPT_AGENT_METRICS_PORT=str(port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b"llmpt_agent_tracker_up 1\n" in answer.read()


def test_without_a_terminal_watching_is_one_status(lan: Lan, ann: Machine) -> None:
    ann.llmpt("agent", "start")
    shown = ann.llmpt("status", "--watch")
    assert shown.startswith(f"agent {ann.status()['pid']} ")
    assert "\x1b" not in shown
    assert "leave one out" in error(ann, "status", "--watch", "--json", code=2)


def test_a_command_line_that_cannot_be_is_2(ann: Machine) -> None:
    assert "No such command" in error(ann, "sead", code=2)
    assert "name a path or a repo" in error(ann, "unseed", code=2)


def test_a_cache_without_links_is_seeded_by_the_place_of_its_files(lan: Lan, ann: Machine, repo: str) -> None:
    publish(lan, repo)
    folder = Path(said(ann, "download", repo, HF_USE_P2P="0")["folder"])
    file = folder / "model.bin"
    blob = file.resolve()
    file.unlink()
    blob.rename(file)
    assert folder.parents[1].name == RepoRef("model", repo).folder
    assert said(ann, "seed", repo)["files"][0]["seeded"]
    assert said(ann, "status")["seeding"][0]["path"] == str(file)
    ann.llmpt("unseed", repo)
