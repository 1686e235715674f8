"""The names in a config, read without composing it."""

import time

import pytest

from opeva_specs.configs import ConfigNames, read_names

NAMES = [
    pytest.param("{}", None, None, id="an empty mapping"),
    pytest.param("", None, None, id="an empty file"),
    pytest.param("experiment: {name: e, run_name: r}", "e", "r", id="both"),
    pytest.param("metadata:\n  experiment_name: e\n  run_name: r\n", "e", "r", id="as metadata"),
    pytest.param('{"experiment": {"name": "e"}}', "e", None, id="JSON"),
    pytest.param("experiment:\n  nested: {name: no}\n  name: e\n", "e", None, id="only at its own depth"),
    pytest.param("a: [1, {experiment: {name: no}}]\nexperiment: {name: e}", "e", None, id="not inside lists"),
    pytest.param("experiment: [name, e]", None, None, id="a list is no experiment"),
    pytest.param("x: &x {name: e}\nexperiment: *x", None, None, id="an anchor is never followed"),
    pytest.param("experiment: {name: ''}", None, None, id="an empty name is none"),
    pytest.param("experiment: {name: \"a\\nb\"}", "ab", None, id="line ends are dropped"),
    pytest.param("experiment: {name: e}\nmetadata: {experiment_name: m}", "e", None, id="the first counts"),
    pytest.param("? [a, b]\n: x\nexperiment: {name: e}", "e", None, id="a list as a key"),
    pytest.param("\ufeffexperiment: {name: e}", "e", None, id="a byte order mark"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "experiment", "run"), NAMES)
def test_names_are_found_where_they_are_said(text: str, experiment: str | None, run: str | None) -> None:
    assert read_names(text.encode()) == ConfigNames(experiment_name=experiment, run_name=run)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"- a\n- b\n", "is a list", id="a list"),
        pytest.param(b"word", "is a single word", id="a word"),
        pytest.param(b"a: [", "is not readable YAML (line", id="torn"),
        pytest.param(b"a: \xff\xfe", "is not readable YAML", id="not text"),
    ],
)
def test_what_is_no_mapping_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match="is ") as caught:
        read_names(data)
    assert words in str(caught.value)


def test_a_config_that_means_billions_of_nodes_costs_no_more_than_its_bytes() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    began_at = time.perf_counter()
    assert read_names("\n".join(lines).encode()) == ConfigNames()
    assert time.perf_counter() - began_at < 1


def test_deep_nesting_is_read_or_refused_but_kills_nobody() -> None:
    assert read_names(b"a: " + b"[" * 5000 + b"]" * 5000) == ConfigNames()


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (ConfigNames(experiment_name="e", run_name="r"), "e-r"),
        (ConfigNames(experiment_name="e"), "e-UnnamedRun"),
        (ConfigNames(), "UnnamedExperiment-UnnamedRun"),
    ],
)
def test_the_display_name_is_that_of_the_old_system(names: ConfigNames, word: str) -> None:
    assert names.job_name == word
