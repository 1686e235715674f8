"""Bytes to jobs: what is said of a file that is YAML but no good spec, and where."""

import time

import pytest

from opeva_specs.parse import SpecInvalid, parse

HEAD = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata:\n  name: a\nspec:\n  args: []\n"
SECRET = "hunter2-very-long-secret-value-that-nobody-may-see"


def errors(data: str | bytes) -> list[tuple[int, int, str, str]]:
    """Line, column, field and reason of every error."""
    with pytest.raises(SpecInvalid) as found:
        parse(data.encode() if isinstance(data, str) else data)
    return [(error.line, error.column, error.field, error.reason) for error in found.value.errors]


def messages(data: str | bytes) -> list[str]:
    with pytest.raises(SpecInvalid) as found:
        parse(data.encode() if isinstance(data, str) else data)
    return [error.message for error in found.value.errors]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(HEAD.replace("args", "argz"), [(6, 3, "spec.argz", "UnknownField")], id="unknown field"),
        pytest.param(
            HEAD + "  resources:\n    disk: 1\n", [(8, 5, "spec.resources.disk", "UnknownField")], id="unknown resource"
        ),
        pytest.param(HEAD + "extra:\n  deep: 1\n", [(7, 1, "extra", "UnknownField")], id="unknown mapping: at its key"),
        pytest.param(
            "kind: SimulationJob\n",
            [(1, 1, "apiVersion", "MissingField"), (1, 1, "metadata", "MissingField"), (1, 1, "spec", "MissingField")],
            id="missing fields",
        ),
        pytest.param(
            HEAD.replace("name: a", "labels: {}"), [(4, 3, "metadata.name", "MissingField")], id="missing name"
        ),
        pytest.param(HEAD.replace("opeva.io/v1", "v2"), [(1, 13, "apiVersion", "InvalidValue")], id="version"),
        pytest.param(HEAD.replace("name: a", "name: A_b"), [(4, 9, "metadata.name", "InvalidValue")], id="name"),
        pytest.param(HEAD.replace("name: a", "name: 7"), [(4, 9, "metadata.name", "WrongType")], id="name is a number"),
        pytest.param(HEAD.replace("[]", "[a, 1]"), [(6, 13, "spec.args[1]", "WrongType")], id="item of a list"),
        pytest.param(HEAD.replace("args: []", "args: -v"), [(6, 9, "spec.args", "WrongType")], id="text for a list"),
        pytest.param(HEAD + "  env: {A: no, B: 1}\n", [(7, 19, "spec.env.B", "WrongType")], id="env is a number"),
        pytest.param(HEAD + "  env: {A-=: x}\n", [(7, 8, "spec.env", "InvalidValue")], id="env name"),
        pytest.param(HEAD + "  rerun: 1.0\n", [(7, 10, "spec.rerun", "WrongType")], id="rerun with a point"),
        pytest.param(HEAD + "  rerun: yes\n", [(7, 10, "spec.rerun", "WrongType")], id="rerun is a word"),
        pytest.param(HEAD + "  rerun: true\n", [(7, 10, "spec.rerun", "WrongType")], id="rerun is a truth"),
        pytest.param(HEAD + "  rerun: -1\n", [(7, 10, "spec.rerun", "InvalidValue")], id="rerun below zero"),
        pytest.param(
            HEAD + f"  rerun: {'9' * 5000}\n", [(7, 10, "spec.rerun", "WrongType")], id="rerun of 5,000 digits"
        ),
        pytest.param(
            HEAD + "  imagePullPolicy: always\n", [(7, 20, "spec.imagePullPolicy", "InvalidValue")], id="pull policy"
        ),
        pytest.param(HEAD + "  config: {}\n  configPath: a\n", [(6, 3, "spec", "InvalidValue")], id="two configs"),
        pytest.param(
            HEAD + "  configPath: ../../etc/passwd\n", [(7, 15, "spec.configPath", "InvalidValue")], id="traversal"
        ),
        pytest.param(HEAD + "  config: [a]\n", [(7, 11, "spec.config", "WrongType")], id="config is a list"),
        pytest.param(
            HEAD.replace("spec:\n  args: []\n", "spec: []\n"), [(5, 7, "spec", "WrongType")], id="spec is a list"
        ),
        pytest.param(HEAD + "  resources: {cpu: lots}\n", [(7, 20, "spec.resources.cpu", "InvalidValue")], id="cpu"),
    ],
)
def test_an_error_has_the_place_and_the_field_where_it_was_made(
    text: str, expected: list[tuple[int, int, str, str]]
) -> None:
    assert errors(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(HEAD + "  Image: x\n", "did you mean 'image'?", id="case"),
        pytest.param(HEAD + "  config_path: x\n", "did you mean 'configPath'?", id="snake case"),
        pytest.param(HEAD + "  target_host: x\n", "did you mean 'targetHost'?", id="old name"),
        pytest.param(HEAD.replace("name: a", "name: a\n  lables: {}"), "did you mean 'labels'?", id="in metadata"),
        pytest.param("specs: {}\n" + HEAD, "did you mean 'spec'?", id="at the top"),
        pytest.param(HEAD + "  resources: {disk: 1}\n", "known here: cpu, memory, gpu", id="nothing is close"),
        pytest.param(HEAD + "  network: 12\n", 'put it in quotes, "12"', id="number for text"),
        pytest.param(HEAD + "  network: [a]\n", "must be text, not a list or a mapping", id="list for text"),
        pytest.param(HEAD.replace("kind: SimulationJob\n", ""), "is missing: write 'kind: SimulationJob'", id="kind"),
        pytest.param(HEAD + "  image: 'a b'\n", "write it like 'registry/name:tag'", id="image"),
        pytest.param(HEAD + "  terminationGracePeriodSeconds: 90000\n", "less than or equal to 86400", id="too much"),
        pytest.param("a: &x 1\n", "write the value out", id="anchor"),
    ],
)
def test_an_error_says_what_to_write_instead(text: str, told: str) -> None:
    assert [message for message in messages(text) if told in message]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEAD + f"  env: {{TOKEN: [{SECRET}]}}\n", id="env value in a list"),
        pytest.param(HEAD + f'  env: {{TOKEN: "{SECRET}\\0"}}\n', id="env value with NUL"),
        pytest.param(HEAD + f"  env: {{TOKEN: 1234567890}}\n  note: {SECRET}\n", id="unknown field"),
        pytest.param(HEAD + f"  image: '{SECRET} {SECRET}'\n", id="image"),
        pytest.param(HEAD + f"  rerun: {SECRET}\n", id="rerun"),
        pytest.param(HEAD + f"  config: {SECRET}\n", id="config"),
        pytest.param(HEAD + f"  env: {{A: {SECRET}\n", id="broken YAML"),
        pytest.param(HEAD + f"  env: {{A: &{SECRET} b}}\n", id="anchor"),
        pytest.param(HEAD + f"  env: {{A: !{SECRET} b}}\n", id="tag"),
    ],
)
def test_no_error_repeats_a_value_that_may_be_a_secret(text: str) -> None:
    with pytest.raises(SpecInvalid) as found:
        parse(text.encode())
    assert "hunter2" not in str(found.value) + repr(found.value.errors)
    assert "1234567890" not in repr(found.value.errors)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEAD + f"  {'k' * 200_000}: 1\n", id="long unknown field"),
        pytest.param(HEAD + f"  ? {'k' * 200_000}\n  : 1\n", id="long unknown field, written out"),
        pytest.param(HEAD + f"  env:\n    ? {'k-=' * 60_000}\n    : x\n", id="long env name"),
        pytest.param(HEAD.replace("name: a", f"name: a\n  labels:\n    ? {'k' * 200_000}\n    : x"), id="long label"),
        pytest.param(HEAD + f"  config: {{a: {'1' * 200_000}}}\n", id="long number"),
        pytest.param(HEAD + f"  image: {'x' * 200_000}\n", id="long image"),
        pytest.param(HEAD + f"  network: {'x' * 200_000}\n", id="long network"),
        pytest.param(f"kind: {'x' * 200_000}\n", id="long kind"),
    ],
)
def test_an_error_stays_short_however_long_the_value(text: str) -> None:
    with pytest.raises(SpecInvalid) as found:
        parse(text.encode())
    assert max(len(error.message) + len(error.field) for error in found.value.errors) < 500
    assert all(error.sentence().isprintable() for error in found.value.errors)


def test_control_characters_of_a_field_name_do_not_reach_the_error() -> None:
    [error] = (found for found in errors(HEAD + '  "a\\n\\e[2J\\u202e": 1\n'))
    assert error[2] == "spec.a??[2J?"


@pytest.mark.parametrize("name", ["[key]", "__root__", "metadata.name", "", " "])
def test_a_field_may_be_named_like_anything_and_is_then_unknown(name: str) -> None:
    assert [found[3] for found in errors(f"{HEAD}  '{name}': 1\n")] == ["UnknownField"]
    assert errors(f"{HEAD}  env:\n    '{name}': 1\n")[0][:2] == (8, 5 + len(repr(name)) + 2)


def test_several_documents_are_several_jobs_numbered_as_they_stand() -> None:
    documents = parse(f"{HEAD}---\n---\n{HEAD.replace('name: a', 'name: b')}".encode())
    assert [(document.number, document.job.metadata.name) for document in documents] == [(1, "a"), (3, "b")]


def test_an_error_in_one_document_rejects_the_file_and_names_the_document() -> None:
    with pytest.raises(SpecInvalid) as found:
        parse(f"{HEAD}---\n{HEAD.replace('kind: SimulationJob', 'kind: Pod')}---\n- x\n".encode())
    assert [(e.document, e.line, e.field) for e in found.value.errors] == [(2, 9, "kind"), (3, 15, "")]


def test_one_name_twice_in_a_file_is_the_later_ones_error() -> None:
    with pytest.raises(SpecInvalid) as found:
        parse(f"{HEAD}---\n{HEAD}".encode())
    [error] = found.value.errors
    assert (error.document, error.line, error.column, error.reason) == (2, 11, 9, "DuplicateName")


def test_a_truncated_file_is_not_taken_for_a_job() -> None:
    whole = HEAD.replace("args: []", "configPath: train.yaml\n  image: busybox")
    lengths = range(whole.index("configPath"))
    assert all(errors(whole[:length]) for length in lengths)


def test_errors_come_in_the_order_of_the_file() -> None:
    text = HEAD + "  rerun: x\n  config:\n    a: no\n  zzz: 1\n  network: 1\n"
    assert [line for line, *_ in errors(text)] == [7, 9, 10, 11]


def test_ten_thousand_errors_are_told_in_bounded_time() -> None:
    before = time.process_time()
    assert len(errors(HEAD + "".join(f"  imag{n}: 1\n" for n in range(4_900)))) == 4_900
    assert time.process_time() - before < 10


def test_an_error_is_one_sentence_for_a_person() -> None:
    with pytest.raises(
        SpecInvalid, match=r"^line 7, column 3: spec\.imagee: is not a field of spec; did you mean 'image'\?$"
    ):
        parse(f"{HEAD}  imagee: x\n".encode())
