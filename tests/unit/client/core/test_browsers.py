"""Which requests of a browser are refused, by their headers alone."""

from __future__ import annotations

import pytest

from llmpt.core.browsers import Caller, HostNames, effect_refusal, refusal

CHROMIUM = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"
NAMES = HostNames.parse("hub.example.com, *.lab.example.com")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "10.0.0.5:8000",
            "127.0.0.1",
            "[::1]:8000",
            "[fd00::5]",
            "[fe80::1%eth0]:8000",
            "localhost:8000",
            "server:8000",
            "TRACKER",
        ),
        *("server.local", "server.lan:8000", "a.b.internal", "hub.home.arpa", "server.local.:8000", "nas.home", "hub.test"),
        *("hub.example.com:8000", "HUB.example.com.", "x.lab.example.com"),
    ],
)
def test_a_name_that_no_stranger_can_own_is_right(host: str) -> None:
    assert refusal(Caller(host=host), NAMES) is None
    assert refusal(Caller(host=host, user_agent=CHROMIUM), NAMES) is None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8000",
            "hub.example.com.evil.example",
            "xhub.example.com",
            "lab.example.com",
            "local.evil.com",
        ),
        *("10.0.0.5.evil.com", "10.0.0.5.nip.io", "evillan.com", "server.lan@evil.com", "a b", "[evil]", "x:y", "*.lan/", ".lan"),
    ],
)
def test_any_other_name_is_refused_by_a_sentence_that_names_the_setting(host: str) -> None:
    for agent in ("", "curl/8", CHROMIUM):
        refused = refusal(Caller(host=host, user_agent=agent), NAMES)
        assert refused is not None
        assert refused.status == 421
        assert "LLMPT_HOSTS" in refused.message


def test_a_program_may_leave_the_host_out_and_a_browser_may_not() -> None:
    assert refusal(Caller(), NAMES) is None
    assert refusal(Caller(user_agent=CHROMIUM), NAMES) is not None


@pytest.mark.parametrize(
    "caller",
    [
        *(
            Caller("server:8000", origin=one)
            for one in ("http://evil.example", "null", "http://server:3000", "https://server:8000x")
        ),
        *(Caller("server:8000", fetch_site=one) for one in ("cross-site", "same-site", "what-comes-next")),
        Caller("server:8000", referer="http://evil.example/page"),
        Caller("server:8000", origin="http://server:8000", fetch_site="same-site"),
    ],
)
def test_the_page_of_another_site_is_refused(caller: Caller) -> None:
    refused = refusal(caller, NAMES)
    assert refused is not None
    assert refused.status == 403


@pytest.mark.parametrize(
    "caller",
    [
        Caller("server:8000", origin="http://server:8000", user_agent=CHROMIUM),
        Caller("server", origin="http://server:80", user_agent=CHROMIUM),
        Caller("server:443", origin="https://server", user_agent=CHROMIUM),
        Caller("server:8000", referer="http://server:8000/repos/x?y", user_agent=CHROMIUM),
        *(Caller("server:8000", fetch_site=one, user_agent=CHROMIUM) for one in ("same-origin", "none")),
    ],
)
def test_our_own_page_may_ask_for_all(caller: Caller) -> None:
    assert refusal(caller, NAMES) is None
    assert effect_refusal(caller) is None


def test_other_sites_may_link_to_a_page() -> None:
    for caller in (Caller("server:8000", referer="http://wiki.lan/"), Caller("server:8000", fetch_site="cross-site")):
        assert refusal(caller, NAMES, is_link=True) is None
        assert refusal(caller, NAMES) is not None


def test_what_has_an_effect_is_refused_to_a_browser_that_does_not_say_whose_page_asks() -> None:
    refused = effect_refusal(Caller("server:8000", user_agent=CHROMIUM))
    assert refused is not None
    assert refused.status == 403


@pytest.mark.parametrize(
    "agent",
    [
        *("", "llmpt/0.1.0", "unknown/None; hf_hub/2.4.0; python/3.13; torch/2.13", "curl/8.11", "Wget/1.25", "node", "undici"),
        *("libtorrent/2.1.1.0", "qBittorrent/5.0", "python-requests/2.32", "Go-http-client/1.1", "hf-hub/0.4; rust/unknown"),
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.4391",
    ],
)
def test_a_program_that_is_no_browser_may_ask_for_all(agent: str) -> None:
    caller = Caller("server:8000", user_agent=agent)
    assert refusal(caller, NAMES) is None
    assert effect_refusal(caller) is None


@pytest.mark.parametrize("text", ["http://hub.example.com", "hub.example.com:8000", "hub/example", '"hub"'])
def test_a_setting_that_holds_no_names_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a port"):
        HostNames.parse(text)


def test_own_names_are_added_and_what_is_none_left_out() -> None:
    names = HostNames().also(["Server.Example.ORG", "what is this", ""])
    assert "server.example.org:8000" in names
    assert names.named == ("server.example.org",)
