"""What must stay true of the repository itself, whatever the code does."""

import ast
import importlib
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from opeva_specs.settings import variables

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("operator", "api", "specs", "cli")
TOP_LEVEL = (
    *SOURCE_ROOTS,
    *("tests", "examples", "benchmarks", "docs", "deploy", ".ci", ".github"),
    *("Dockerfile", "docker-compose.yml", "Makefile", "pyproject.toml", "constraints.txt"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"),
)
# Written in two parts, because this file is looked through as well.
REGISTRIES = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "deb" + ".debian.org",
    "archive.ubuntu" + ".com",
)
MACHINE_PATH = re.compile(r"(?<![\w.}])/" + "work/")
MENTION = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:py|md)\b")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")


def repo_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for file in repo_files():
        try:
            yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture


def prose_of(source: str) -> Iterator[str]:
    """Yield every comment and docstring of a Python source."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def mentions(prose: str) -> list[str]:
    """Name the files that a comment or docstring speaks of; web addresses are none."""
    return MENTION.findall(re.sub(r"\w+://\S+", "", prose))


def make_targets_in(markdown: str) -> set[str]:
    """Name the make targets that a document tells its reader to type."""
    blocks = CODE_BLOCK.findall(markdown)
    spans = CODE_SPAN.findall(CODE_BLOCK.sub("", markdown))
    typed = [line for block in blocks for line in block.splitlines()] + spans
    found: set[str] = set()
    for line in typed:
        command = re.match(r"\s*(?:\$ )?(?:sudo )?make((?: [a-z]+)+)", line)
        found.update(command[1].split() if command else ())
    return found


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_is_no_package(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists(), f"{root}/__init__.py would shadow another module {root!r}"


def test_every_top_level_entry_is_there() -> None:
    present = {file.relative_to(ROOT).parts[0] for file in repo_files()}
    assert set(TOP_LEVEL) - present == set()


def test_comments_and_docstrings_mention_only_files_that_exist() -> None:
    names = [f"/{file.relative_to(ROOT)}" for file in repo_files()]
    gone = [
        f"{name}: {mention}"
        for name, text in texts()
        if name.endswith(".py")
        for prose in prose_of(text)
        for mention in mentions(prose)
        if not any(known.endswith(f"/{mention}") for known in names)
    ]
    assert gone == []


def test_no_file_names_a_package_registry() -> None:
    assert [f"{name}: {host}" for name, text in texts() for host in REGISTRIES if host in text] == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert [name for name, text in texts() if MACHINE_PATH.search(text)] == []


def test_constraints_pin_every_dependency_exactly_and_nothing_by_address() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)] == []
    pinned = {normal_name(line) for line in lines}
    assert {normal_name(line) for line in wanted} - pinned == set()
    assert project["name"] not in pinned


def normal_name(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_console_scripts_are_functions() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"opeva", "opeva-operator", "opeva-api"}
    for target in scripts.values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), target


def test_compose_hands_on_every_setting_that_it_does_not_fix_itself() -> None:
    fixed = {"OPEVA_SHARED_DATA", "OPEVA_SHARED_DATA_HOST", "OPEVA_API_HOST", "OPEVA_API_PORT", "DOCKER_HOST"}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    known = {name for name, _, _ in variables()}
    assert set(compose["x-service"]["environment"]) == known - fixed


def imported_by(source: str) -> set[str]:
    """Name the top-level modules that a source imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_docker_library_is_imported_in_one_file() -> None:
    modules = [file for root in SOURCE_ROOTS for file in (ROOT / root).rglob("*.py")]
    importers = [str(file.relative_to(ROOT)) for file in modules if "docker" in imported_by(file.read_text())]
    assert importers == ["operator/opeva_operator/docker_engine.py"]


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    modules = [file for root in SOURCE_ROOTS for file in (ROOT / root).rglob("*.py")]
    shadows = [m for m in modules if m.stem in sys.stdlib_module_names and not m.stem.startswith("__")]
    assert [str(module.relative_to(ROOT)) for module in shadows] == []


def test_documents_tell_only_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    told = {target: doc.name for doc in documents if doc.exists() for target in make_targets_in(doc.read_text())}
    assert "test" in told
    assert {target: name for target, name in told.items() if target not in targets} == {}


@pytest.mark.parametrize(
    ("prose", "expected"),
    [
        ("see planner.py, not docs/x.md.", ["planner.py", "docs/x.md"]),
        ("all *.py files of the tests", []),
        ("told at https://example.org/a/readme.md at length", []),
    ],
)
def test_mentions_are_file_names_in_prose(prose: str, expected: list[str]) -> None:
    assert mentions(prose) == expected


def test_make_targets_are_read_from_code_only() -> None:
    markdown = "We make sure.\n`make up` and `make check test`\n```\n$ make demo ARGS=1\n```\nThey make things."
    assert make_targets_in(markdown) == {"up", "check", "test", "demo"}
