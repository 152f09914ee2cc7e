"""The documents say what is so: settings, commands, targets, files and links in them are held to the code."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import platformdirs
import pytest

from llmpt.cli import group as llmpt_command
from llmpt.core.settings import declared
from llmpt.settings import ClientSettings
from llmpt_seeder.cli import main as seeder_command
from llmpt_seeder.settings import SeederSettings
from llmpt_tracker.cli import cli as tracker_command
from llmpt_tracker.openapi.document import document as openapi
from llmpt_tracker.settings import TrackerSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "compose/README.md",
    "tests/README.md",
    *PAGES,
)
SETTINGS, COMMANDS_PAGE, TROUBLESHOOTING = "docs/settings.md", "docs/commands.md", "docs/troubleshooting.md"
CATALOGUE_API, CONTROL_SOCKET = "docs/protocols/catalogue-api.md", "docs/protocols/control-socket.md"
LONGEST = {"README.md": 150, "ARCHITECTURE.md": 200}  # in lines; what is more goes to docs/
ROLES = {"client": ClientSettings, "seeder": SeederSettings, "tracker": TrackerSettings}
PACKAGES = {"llmpt": "client", "llmpt_tracker": "tracker", "llmpt_seeder": "seeder"}
COMMANDS: dict[str, click.Command] = {
    "llmpt": llmpt_command,
    "llmpt-tracker": tracker_command,
    "llmpt-seeder": seeder_command,
}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
TREE = re.compile(r"(?:client|tracker|seeder|tests|compose|docs|\.ci)/[\w./*-]*")
VAGUE = "whoever|whomever|somebody|anybody|everybody|shall"  # as subjects: a machine does it, a program, a peer
MADE_BY_THE_USER = {"compose/.env"}
MODULE = re.compile(r"^(llmpt|llmpt_tracker|llmpt_seeder)((?:\.\w+)+)$", re.MULTILINE)
SHOWN_OUTPUT = ("", "toml", "python")  # the languages of fences that hold no command lines

documents = pytest.mark.parametrize("document", DOCUMENTS)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    return FENCE.sub("", text_of(document))


def spans(document: str) -> list[str]:
    return SPAN.findall(prose(document))


def command_lines(document: str) -> Iterator[list[str]]:
    """Yield what a document tells to type, as words: shell fences line by line, and every code span."""
    lines = spans(document)
    for language, body in FENCE.findall(text_of(document)):
        if language not in SHOWN_OUTPUT:
            lines += body.splitlines()
    for line in lines:
        for part in re.split(r"&&|\||;", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue  # an apostrophe: prose, not a command
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if words:
                yield [words[0].rpartition("/")[2], *words[1:]]


# English


@documents
def test_a_sentence_has_a_noun_as_its_subject(document: str) -> None:
    """Not "whoever has it" but "a machine that has it"; and what must be, must, not shall."""
    assert re.findall(rf"\b(?:nobody|{VAGUE})\b", SPAN.sub("", prose(document)), re.IGNORECASE) == []


@pytest.mark.parametrize("side", PACKAGES.values())
def test_a_docstring_and_a_message_have_a_noun_as_their_subject(side: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / side).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(rf"\b(?:{VAGUE})\b", line, re.IGNORECASE)
    }
    assert found == set()


# Settings


def plain(default: str) -> str:
    """Write a default as the table does: nothing for a folder of this machine, IPv6 without brackets, one kind of separator."""
    if default == str(platformdirs.user_data_path("llmpt")):
        return ""
    return re.sub(r"[\s,]+", ",", default.replace("[", "").replace("]", ""))


def settings_of_the_code() -> set[tuple[str, str, str]]:
    return {(name, role, plain(default)) for role, cls in ROLES.items() for name, default, _ in declared(cls)}


def settings_of_the_page() -> list[tuple[str, str, str]]:
    table = text_of(SETTINGS).partition("| setting | read by | default | meaning |\n")[2].partition("\n\n")[0]
    found = []
    for row in table.splitlines()[1:]:
        name, roles, default, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        assert meaning, f"{name} has no meaning"
        for role in roles.split(", "):
            found.append((name.strip("`"), role, plain("" if default == "–" else default.strip("`"))))
    return found


def test_the_page_lists_every_setting_with_its_reader_and_default() -> None:
    assert set(settings_of_the_page()) == settings_of_the_code()


def test_the_page_lists_no_setting_twice() -> None:
    rows = [(name, role) for name, role, _ in settings_of_the_page()]
    assert len(rows) == len(set(rows))


# Commands


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_lists_every_command(command: str) -> None:
    table = text_of(COMMANDS_PAGE).partition(f"## The command `{command}`\n")[2].partition("\n## ")[0]
    group = COMMANDS[command]
    assert isinstance(group, click.Group)
    assert {
        name for name in group.commands if f"| `{command} {name}" not in table and f", `{command} {name}`" not in table
    } == set()


@documents
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of("Makefile"), re.MULTILINE))
    for words in command_lines(document):
        if words[0] == "make":
            named = {word for word in words[1:] if "=" not in word}
            assert named <= targets, f"make {' '.join(named - targets)}"


def test_a_developer_is_told_of_every_target() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", text_of("Makefile"), re.MULTILINE))
    named = {word for words in command_lines("CONTRIBUTING.md") if words[0] == "make" for word in words[1:]}
    assert targets - named == set()


@documents
def test_every_command_of_ours_that_is_named_exists_with_its_options(document: str) -> None:
    for words in command_lines(document):
        command = COMMANDS.get(words[0])
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.commands.get(rest[0])
            assert found is not None, f"{' '.join(words)}: {command.name} has no {rest[0]!r}"
            command, rest = found, rest[1:]
        if command is not None:
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
            unknown = {word for word in rest if re.fullmatch(r"--?[a-z][a-z-]*", word)} - known
            assert not unknown, f"{' '.join(words)}: {unknown}"


@documents
def test_every_extra_that_is_named_exists(document: str) -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    named = set(re.findall(r"(?:\.|llmpt)\[([a-z]+)\]", text_of(document)))
    assert named <= set(project["optional-dependencies"])


# Places


@documents
def test_every_file_that_is_named_exists(document: str) -> None:
    for span in spans(document):
        if TREE.fullmatch(span) and span not in MADE_BY_THE_USER:
            assert list(ROOT.glob(span)), f"{span} does not exist"


@documents
def test_every_module_that_is_named_exists(document: str) -> None:
    for package, rest in MODULE.findall("\n".join(spans(document))):
        path = ROOT / PACKAGES[package] / package
        for name in rest.strip(".").split("."):
            if (path / name).is_dir() or (path / f"{name}.py").is_file():
                path = path / name
                continue
            source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            assert re.search(rf"\b{name}\b", source.read_text(encoding="utf-8")), f"{package}{rest}: no {name}"
            break


@documents
def test_every_link_leads_somewhere(document: str) -> None:
    for target in LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / document).parent / file if file else ROOT / document
        assert path.exists(), f"{target} does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def pages_linked_from(document: str) -> set[str]:
    targets = (target.partition("#")[0] for target in LINK.findall(prose(document)) if not re.match(r"[a-z]+:", target))
    found = {((ROOT / document).parent / target).resolve() for target in targets if target}
    return {path.relative_to(ROOT.resolve()).as_posix() for path in found}


def test_every_page_is_linked_from_the_readme_or_from_the_index_of_its_folder() -> None:
    linked = pages_linked_from("README.md")
    for page in PAGES:
        index = f"{Path(page).parent.as_posix()}/README.md"
        assert page in linked or (index in linked and page in pages_linked_from(index)), f"nothing leads to {page}"


@pytest.mark.parametrize("document", LONGEST)
def test_the_first_documents_are_short_enough_to_be_read(document: str) -> None:
    assert len(text_of(document).splitlines()) <= LONGEST[document]


def test_the_map_has_a_row_for_every_folder_of_the_code() -> None:
    named = {span for line in text_of("ARCHITECTURE.md").splitlines() if line.startswith("| `") for span in SPAN.findall(line)}
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for package, side in PACKAGES.items()
        for path in (ROOT / side / package).glob("*/__init__.py")
    }
    assert folders - named == set()


def test_a_flow_of_the_map_is_short_enough_to_be_remembered() -> None:
    flows = text_of("ARCHITECTURE.md").partition("## The flows\n\n")[2].partition("\n\n## ")[0].split("\n\n")
    assert {flow.splitlines()[0]: len(flow.splitlines()) for flow in flows if len(flow.splitlines()) > 6} == {}


@pytest.mark.parametrize("page", [page for page in PAGES if re.match(r"docs/decisions/\d", page)])
def test_a_decision_says_what_and_why_under_its_number(page: str) -> None:
    number, title = re.findall(r"^# (\d+)\. (.+)$", text_of(page), re.MULTILINE)[0]
    assert Path(page).name.startswith(f"{int(number):02}-")
    assert f"| {number} | [{title}]({Path(page).name}) |" in text_of("docs/decisions/README.md")
    assert "**What.**" in text_of(page)
    assert "**Why.**" in text_of(page)


# What the user reads


def test_every_reason_of_the_page_is_one_that_the_code_gives() -> None:
    table = text_of(TROUBLESHOOTING).partition("| reason | what to do |\n")[2].partition("\n\n")[0]
    reasons = [row.split("`")[1] for row in table.splitlines()[1:]]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "client").rglob("*.py"))
    assert reasons
    for reason in reasons:
        for part in filter(None, map(str.strip, reason.split("…"))):
            assert part in code, f"nothing says {part!r}"


def test_the_page_of_the_catalogues_api_lists_every_route() -> None:
    written = set(re.findall(r"`(?:GET|POST|PUT) (/api/v1/[^`\s]*)`", text_of(CATALOGUE_API)))
    told = {re.sub(r"\{(\w+)\}", r"<\1>", path) for path in openapi()["paths"] if path.startswith("/api/")}
    assert written == told


def test_the_page_of_the_catalogues_api_lists_every_code_of_a_refusal() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tracker").rglob("*.py"))
    given = set(re.findall(r'\bRefused\(\s*\d+,\s*"(\w+)"', code))
    rows = {codes: status for status, codes in re.findall(r"^\| ([\d, ]+) \| (.*?) \|", text_of(CATALOGUE_API), re.MULTILINE)}
    for status, name in re.findall(r'\bRefused\(\s*(\d+),\s*"(\w+)"', code):
        assert [status in found for codes, found in rows.items() if f"`{name}`" in codes] == [True], f"{name} is {status}"
    given |= set(re.findall(r'^    +\(?"[^"]+", "(database_\w+|disk_\w+)"', code, re.MULTILINE))
    given |= set(re.findall(r'_later\("(\w+)"', code))
    assert given - set(spans(CATALOGUE_API)) == set()


def test_the_page_of_the_hubs_api_lists_every_route_and_every_word_for_no() -> None:
    grammar = (ROOT / "client/llmpt/core/hub_target.py").read_text(encoding="utf-8")
    words = {word for table in re.findall(r"^_(?:FILES|OF_A_REPO|LONE) = \{(.*)\}", grammar, re.MULTILINE)
             for word in re.findall(r'"([\w-]+)":', table)}  # fmt: skip
    assert len(words) == 11
    refusals = (ROOT / "tracker/llmpt_tracker/rules/hub/errors.py").read_text(encoding="utf-8")
    words |= set(re.findall(r'RefusedAsHub\(\s*404,\s*"(\w+)"', refusals))
    page = text_of("docs/protocols/hub-api.md")
    assert {word for word in words if not re.search(rf"`[^`]*\b{word}\b[^`]*`", page)} == set()


def test_the_page_of_the_control_socket_lists_every_operation() -> None:
    written = set(re.findall(r"^\| `(\w+)` \|", text_of(CONTROL_SOCKET), re.MULTILINE))
    asked = set(re.findall(r'_ask\(\s*"(\w+)"', text_of("tracker/llmpt_tracker/control/client.py")))
    assert written - {"op"} == asked


def test_the_architecture_lists_the_import_layers_as_they_are_enforced() -> None:
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    written = " ".join(text_of("ARCHITECTURE.md").split())
    for contract in contracts:
        if contract["type"] == "layers":
            layers = " › ".join(layer.replace(" | ", ", ") for layer in contract["layers"])
            assert layers in written, f"{contract['name']}: {layers}"
