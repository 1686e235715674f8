"""The guard before anything is composed, and what each word of a file means."""

import json
import time

import pytest

from opeva_specs.parse import SpecInvalid, parse
from opeva_specs.yamltree import MAX_BYTES, MAX_DEPTH, MAX_NODES

HEAD = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata:\n  name: a\nspec:\n  args: []\n"


def errors(data: str | bytes) -> list[tuple[int, int, str, str]]:
    """Line, column, field and reason of every error."""
    with pytest.raises(SpecInvalid) as found:
        parse(data.encode() if isinstance(data, str) else data)
    return [(error.line, error.column, error.field, error.reason) for error in found.value.errors]


def messages(data: str | bytes) -> list[str]:
    with pytest.raises(SpecInvalid) as found:
        parse(data.encode() if isinstance(data, str) else data)
    return [error.message for error in found.value.errors]


def config(text: str) -> object:
    """What a `config` of that one value means."""
    [document] = parse(f"{HEAD}  config: {{a: {text}}}\n".encode())
    assert document.job.spec.config is not None
    return document.job.spec.config["a"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(HEAD + "  config: " + "[" * 30_000, (7, 11 + MAX_DEPTH - 2, "TooDeep"), id="30,000 brackets"),
        pytest.param("[" * 200_000, (1, MAX_DEPTH + 1, "TooDeep"), id="200,000 brackets"),
        pytest.param("{a: " * 60_000, (1, 4 * MAX_DEPTH + 1, "TooDeep"), id="60,000 braces"),
        pytest.param("- " * 100_000, (1, 2 * MAX_DEPTH + 1, "TooDeep"), id="100,000 dashes"),
        pytest.param("? " * 100_000, (1, 3, "WrongType"), id="100,000 question marks"),
        pytest.param("a: &x 1\nb: *x\n", (1, 4, "AliasRefused"), id="anchor"),
        pytest.param("a: *x\n", (1, 4, "AliasRefused"), id="alias"),
        pytest.param("&x a: 1\n", (1, 1, "AliasRefused"), id="anchor of a key or a mapping"),
        pytest.param("&x [*x]\n", (1, 1, "AliasRefused"), id="a list that holds itself"),
        pytest.param("a:\n  <<: {b: 1}\n", (2, 3, "AliasRefused"), id="merge key"),
        pytest.param("a: !!python/object/apply:os.system [ls]\n", (1, 4, "TagRefused"), id="python tag"),
        pytest.param("a: !!str 1\n", (1, 4, "TagRefused"), id="core tag"),
        pytest.param("a: !x {}\n", (1, 4, "TagRefused"), id="tag of one's own"),
        pytest.param("!x a: 1\n", (1, 1, "TagRefused"), id="tag of a key"),
        pytest.param("a: 1\nb: 2\na: 3\n", (3, 1, "DuplicateKey"), id="duplicate key"),
        pytest.param('{"a": 1, "a": 2}', (1, 10, "DuplicateKey"), id="duplicate key in JSON"),
        pytest.param("a: 1\n'a': 2\n", (2, 1, "DuplicateKey"), id="duplicate key in quotes"),
        pytest.param("1: a\n", (1, 1, "WrongType"), id="number as a key"),
        pytest.param("true: a\n", (1, 1, "WrongType"), id="truth as a key"),
        pytest.param("~: a\n", (1, 1, "WrongType"), id="nothing as a key"),
        pytest.param("[a]: b\n", (1, 1, "WrongType"), id="list as a key"),
        pytest.param("a:\n\tb: 1\n", (2, 1, "Syntax"), id="tab as indentation"),
        pytest.param("a: [1\n", (2, 1, "Syntax"), id="list without an end"),
        pytest.param("a: 'x\n", (2, 1, "Syntax"), id="quote without an end"),
        pytest.param("a: b: c\n", (1, 5, "Syntax"), id="two colons"),
        pytest.param("a: 1\nb\x00: 2\n", (2, 2, "Syntax"), id="NUL"),
        pytest.param("a: '\x1b[2J'\n", (1, 5, "Syntax"), id="escape sequence"),
        pytest.param("a: 'x\u2028y'\n", (1, 6, "Syntax"), id="line separator"),
        pytest.param("a: 1 # \x85b: 2\n", (1, 8, "Syntax"), id="a field hidden in a comment"),
        pytest.param('a: "\\ud83d"\n', (1, 7, "Syntax"), id="half a character"),
        pytest.param(b"a: 1\nbc: \xe9\n", (2, 5, "Encoding"), id="Latin-1"),
        pytest.param(b"\xff", (1, 1, "Encoding"), id="no text at all"),
        pytest.param(b"\xef\xbb\xbf[\xff", (1, 2, "Encoding"), id="Latin-1 after a byte order mark"),
        pytest.param(b"a: \xed\xa0\x80\n", (1, 4, "Encoding"), id="a surrogate in UTF-8"),
        pytest.param(HEAD.encode("utf-16"), (1, 1, "Encoding"), id="UTF-16"),
        pytest.param(HEAD.encode("utf-16-be"), (1, 1, "Syntax"), id="UTF-16 without a mark"),
        pytest.param("", (1, 1, "Empty"), id="empty"),
        pytest.param("# nothing\n", (1, 1, "Empty"), id="a comment alone"),
        pytest.param("---\n---\n...\n", (1, 1, "Empty"), id="empty documents"),
        pytest.param("- a\n- b\n", (1, 1, "WrongType"), id="list at the root"),
        pytest.param("\n  just text\n", (2, 3, "WrongType"), id="text at the root"),
        pytest.param(b"#" * (MAX_BYTES + 1), (1, 1, "TooLarge"), id="one byte too many"),
        pytest.param(
            "a: [" + "1," * MAX_NODES + "]", (1, 5 + 2 * (MAX_NODES - 3), "TooLarge"), id="one value too many"
        ),
    ],
)
def test_what_the_guard_refuses_it_refuses_at_once_and_says_where(
    data: str | bytes, expected: tuple[int, int, str]
) -> None:
    before = time.process_time()
    [(line, column, field, reason)] = errors(data)
    assert (line, column, reason) == expected
    assert field == ""
    assert time.process_time() - before < 2


def laughs() -> str:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "\n".join(lines) + "\n"


def merges() -> str:
    lines = ["m0: &m0 {a: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("bomb", [laughs(), merges()], ids=["billion laughs", "merge keys"])
def test_a_bomb_is_refused_at_its_first_anchor(bomb: str) -> None:
    assert errors(bomb) == [(1, 5, "", "AliasRefused")]


def test_a_spec_may_use_all_of_its_bytes() -> None:
    padded = HEAD + "#" * (MAX_BYTES - len(HEAD) - 1) + "\n"
    assert len(padded) == MAX_BYTES
    assert parse(padded.encode())[0].job.metadata.name == "a"


def test_values_may_be_nested_as_deep_as_the_limit() -> None:
    inner = MAX_DEPTH - 3  # the document, spec and config are three
    assert parse(f"{HEAD}  config: {{a: {'[' * inner}{']' * inner}}}\n".encode())
    assert errors(f"{HEAD}  config: {{a: {'[' * (inner + 1)}{']' * (inner + 1)}}}\n")[0][3] == "TooDeep"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xef\xbb\xbf" + HEAD.encode(), id="byte order mark"),
        pytest.param(HEAD.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(HEAD.replace("args: []", "args: []\t# tab").encode(), id="tab before a comment"),
        pytest.param(f"---\n# nothing\n---\n{HEAD}---\n".encode(), id="empty documents around it"),
        pytest.param(f"%YAML 1.1\n---\n{HEAD}...\n".encode(), id="directive and end mark"),
        pytest.param(HEAD.rstrip("\n").encode(), id="no line end"),
        pytest.param(
            HEAD.replace("args: []", "args: []\n  env:\n  config:\n  resources: {cpu: }").encode(),
            id="fields left empty",
        ),
    ],
)
def test_harmless_ways_to_write_a_file_mean_the_same(data: bytes) -> None:
    [document] = parse(data)
    assert document.job == parse(HEAD.encode())[0].job


@pytest.mark.parametrize("indent", [None, 2, "\t"], ids=["one line", "spaces", "tabs"])
@pytest.mark.parametrize("ensure_ascii", [True, False], ids=["escapes", "characters"])
def test_json_is_read_as_json(indent: int | str | None, ensure_ascii: bool) -> None:
    env = {"A": "ä/\\ 😀 \\ud83d\\ude00 \t", "B": ""}
    spec = {
        "apiVersion": "opeva.io/v1",
        "kind": "SimulationJob",
        "metadata": {"name": "a"},
        "spec": {"env": env, "config": {"a": [1, -2.5, 1e-07, 1e22, None, True, {}]}},
    }
    [document] = parse(json.dumps(spec, indent=indent, ensure_ascii=ensure_ascii).encode())
    assert document.job.spec.env == env
    assert document.job.spec.config == {"a": [1, -2.5, 1e-07, 1e22, None, True, {}]}


FOREIGN = (
    *("yes", "Yes", "NO", "on", "off", "12:30:45", "014", "0o17", "+0b1", "1_000", "=", ".inf", "-.INF", ".NaN"),
    *("2024-13-45", "2024-01-01", "1e999", "1" * 19, "1" * 5000, "0x" + "f" * 16),
)


@pytest.mark.parametrize("word", FOREIGN, ids=lambda word: word[:20])
def test_a_word_that_readers_differ_on_stays_text_where_text_is_meant(word: str) -> None:
    spec = parse(f"{HEAD}  env: {{A: {word}, B: no}}\n  submittedBy: {word[:256]}\n".encode())[0].job.spec
    assert (spec.env, spec.submitted_by) == ({"A": word, "B": "no"}, word[:256])


@pytest.mark.parametrize("word", [*FOREIGN, "no"], ids=lambda word: word[:20])
def test_a_word_that_readers_differ_on_is_an_error_inside_config(word: str) -> None:
    assert errors(f"{HEAD}  config:\n    a: [{word}]\n") == [(8, 9, "spec.config.a[0]", "Ambiguous")]
    assert config(f"'{word}'") == word


@pytest.mark.parametrize("word", ["no", "on", "12:30", "0o17"])
def test_a_key_that_readers_differ_on_is_an_error_inside_config_at_the_key(word: str) -> None:
    text = f"{HEAD}  config:\n    b: 1\n    {word}:\n      c: 1\n"
    assert errors(text) == [(9, 5, f"spec.config.{word}", "Ambiguous")]
    assert f"{word!r} means" in messages(text)[0]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("0", 0), ("-0", 0), ("+7", 7), ("0x1F", 31), ("999999999999999999", 10**18 - 1),
        ("1.5", 1.5), (".5", 0.5), ("-3.", -3.0), ("1e-3", 0.001), ("2E8", 2e8), ("6.02e+23", 6.02e23),
        ("word", "word"), ("a b", "a b"), ("'1'", "1"), ('"true"', "true"), ("1.2.3", "1.2.3"), ("truE", "truE"),
    ],
)  # fmt: skip
def test_plain_words_have_the_values_of_the_core_schema(word: str, value: object) -> None:
    found = config(word)
    assert found == value
    assert type(found) is type(value)
