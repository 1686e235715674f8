"""Whatever bytes a spec file holds: a job, or SpecInvalid with errors that lie inside the file; nothing else."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from opeva_specs.parse import Document, SpecInvalid, parse

GOOD = b"""apiVersion: opeva.io/v1
kind: SimulationJob
metadata:
  name: night-run
  labels: {team: blue}
spec:
  image: registry.example:5000/group/name:1.2
  command: [python, "run.py"]
  args:
    - --fast
    - 'two words'
  config:
    experiment: {name: a, seed: 1, rate: 1.5e-3}
    note: |
      several
      lines
  env: {A: "1"}
  resources: {cpu: 500m, memory: 4Gi}
  rerun: 1
---
{"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "b"}, "spec": {"configPath": "a.yaml"}}
"""
TOKENS = [
    *(b"[", b"]", b"{", b"}", b": ", b"- ", b"? ", b"&a ", b"*a", b"!!x ", b"<<: ", b"|", b">", b"'", b'"', b"#", b"%"),
    *(b"\n", b"\r", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"---\n", b"...\n", b"\\ud83d", b"\\"),
    *(b"no", b"~", b"0o17", b"9" * 30, b"1e999", b".inf", b"2024-13-45", b"apiVersion: x\n", b"  " * 40),
]


def parsed(data: bytes) -> list[Document] | None:
    """The jobs, or None when the file is refused; checks what every refusal promises."""
    try:
        documents = parse(data)
    except SpecInvalid as refusal:
        assert refusal.errors
        lines = data.count(b"\n") + data.count(b"\r") + 1
        for error in refusal.errors:
            assert 1 <= error.line <= lines + 1
            assert error.column >= 1
            assert error.document >= 1
            assert error.reason.isalpha()
            assert error.message
            assert error.sentence().isprintable()
        return None
    assert documents
    assert len({document.job.metadata.name for document in documents}) == len(documents)
    return documents


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"\xef\xbb\xbf[\xff")
@example(b"%YAML 9.9\n---\n")
@example(b"a: 0x")
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    parsed(data)


@given(st.text(max_size=300))
def test_arbitrary_text_never_raises_anything_else(text: str) -> None:
    parsed(text.encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join))
def test_arbitrary_yaml_never_raises_anything_else(data: bytes) -> None:
    parsed(data)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.integers(0, 40),
            st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_good_file_with_bytes_cut_and_put_in_never_raises_anything_else(edits: list[tuple[int, int, bytes]]) -> None:
    data = GOOD
    for start, length, new in edits:
        data = data[:start] + new + data[start + length :]
    parsed(data)


@given(st.integers(0, len(GOOD)))
def test_a_file_cut_off_anywhere_is_refused_or_lacks_only_its_end(length: int) -> None:
    whole, found = parse(GOOD), parsed(GOOD[:length])
    if found is not None:
        assert [document.job.metadata.name for document in found] in (["night-run"], ["night-run", "b"])
        assert found[0].job.metadata == whole[0].job.metadata


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(anything)
@example({"[key]": False})
def test_arbitrary_json_never_raises_anything_else(value: object) -> None:
    parsed(json.dumps(value).encode())


@given(
    st.dictionaries(
        st.sampled_from(["image", "args", "env", "config", "rerun", "resources", "network", "oops"]), anything
    )
)
def test_arbitrary_values_in_the_fields_of_a_job_never_raise_anything_else(spec: dict[str, object]) -> None:
    head = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "a"}}
    parsed(json.dumps(head | {"spec": spec}).encode())


@given(anything)
def test_a_config_written_as_json_is_read_as_it_was_meant(value: object) -> None:
    head = {"apiVersion": "opeva.io/v1", "kind": "SimulationJob", "metadata": {"name": "a"}}
    found = parsed(json.dumps(head | {"spec": {"config": {"value": value}}}).encode())
    assert found is not None
    config = found[0].job.spec.config
    assert config is not None
    assert json.dumps(config["value"], sort_keys=True) == json.dumps(value, sort_keys=True)
