"""The front matter of a README: what is read of it, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmpt.disk.stamp import FileStamp
from llmpt_seeder.publishing import card as module
from llmpt_seeder.publishing.card import card_in, read_card


@pytest.fixture(params=["C", "Python"])
def _loaders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: a machine may have only the slow one."""
    if request.param == "C" and not yaml.__with_libyaml__:
        pytest.skip("this PyYAML has no C parser")
    if request.param == "Python":
        monkeypatch.setattr(module, "_CardLoader", module.card_loader(yaml.SafeLoader))


pytestmark = pytest.mark.usefixtures("_loaders")


def card(tmp_path: Path, text: str | bytes) -> dict[str, Any] | None:
    readme = tmp_path / "README.md"
    readme.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_card(readme, FileStamp.of(readme.stat()))


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: apache-2.0\ntags:\n- a\n- b", {"license": "apache-2.0", "tags": ["a", "b"]}),
        ("language:\n- en\n- no\n- on\nx: true\ny: False", {"language": ["en", "no", "on"], "x": True, "y": False}),
        ("released: 2024-05-01\nat: 2024-05-01T10:00:00Z", {"released": "2024-05-01", "at": "2024-05-01T10:00:00+00:00"}),
        ("2: two\ntrue: yes\nnothing: ~\nn: 0.5", {"2": "two", "true": "yes", "nothing": None, "n": 0.5}),
        ("title: 日本語 \U0001f917", {"title": "日本語 \U0001f917"}),
    ],
)
def test_a_card_is_the_yaml_at_the_start_as_json(tmp_path: Path, front: str, expected: dict[str, Any]) -> None:
    found = card(tmp_path, f"---\n{front}\n---\n# Title\n\n---\nmore: text\n---\n")
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


def test_windows_line_ends_and_a_byte_order_mark_are_no_harm(tmp_path: Path) -> None:
    assert card(tmp_path, b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\nText") == {"license": "mit"}


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n---\nlicense: mit\n---\n",
        "---\nlicense: mit\n",
        "---\n- a\n- b\n---\n",
        "---\na: [\n---\n",
        "---\na: &x 1\nb: 2\n---\n",
        "---\na: !!python/object/apply:os.system [id]\n---\n",
        "---\na: !!binary aGVsbG8=\n---\n",
        "---\na: .nan\n---\n",
        "---\na: .inf\n---\n",
        "---\na: " + "9" * 5000 + "\n---\n",
        '---\na: "\\ud800"\n---\n',
        "---\na: " + "[" * 100 + "]" * 100 + "\n---\n",
        "---\na: " + "[" * 100_000 + "\n---\n",
        "---\na: " + "x" * (65 << 10) + "\n---\n",
        "---\na: " + "x" * (300 << 10) + "\n---\n",
        "---\n---\n",
        "",
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_card_or_was_made_to_hurt_is_none(tmp_path: Path, text: str) -> None:
    assert card(tmp_path, text) is None


def test_ten_lines_that_would_be_a_billion_are_none(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert card(tmp_path, "---\n" + "\n".join(lines) + "\n---\n") is None


def test_a_readme_that_is_not_there_has_no_card(tmp_path: Path) -> None:
    assert read_card(tmp_path / "README.md", FileStamp(0, 0, 0)) is None


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ({}, None),
        ({"pipeline_tag": 7, "library_name": ["x"], "tags": "x", "cardData": []}, None),
        ({"pipeline_tag": "x" * 201, "library_name": "a\x1b[2J", "tags": ["good", 7, "", "x" * 201]}, {"tags": ["good"]}),
        ({"tags": ["t"] * 1000}, {"tags": ["t"] * 500}),
        ({"pipeline_tag": "a", "cardData": {"license": "mit", "much": "x" * 70_000}}, {"pipeline_tag": "a"}),
        ({"pipeline_tag": "a", "cardData": {"n": float("inf")}}, {"pipeline_tag": "a"}),
        ({"cardData": {"license": "mit"}}, {"license": "mit"}),
    ],
)
def test_of_the_hubs_own_answer_what_makes_sense_is_taken(said: dict[str, Any], taken: dict[str, Any] | None) -> None:
    assert card_in(said) == taken
