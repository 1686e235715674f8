"""Environment variables to settings: forgiving to read, clear when they cannot be."""

from pathlib import Path
from typing import Any

import pytest

from opeva_specs.settings import Settings, SettingsError, load_settings, variables


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        pytest.param("OPEVA_SHARED_DATA", " /srv/x ", "shared_data", Path("/srv/x"), id="path with spaces around"),
        pytest.param("OPEVA_API_PORT", " 8011 ", "api_port", 8011, id="number with spaces around"),
        pytest.param(
            "OPEVA_CORS_ORIGINS", "http://a, http://b/ ,,", "cors_origins", ("http://a", "http://b"), id="commas"
        ),
        pytest.param("OPEVA_CORS_ORIGINS", ' ["http://a/", ""]', "cors_origins", ("http://a",), id="JSON list"),
        pytest.param("OPEVA_CORS_ORIGINS", "[]", "cors_origins", (), id="empty JSON list"),
        pytest.param(
            "OPEVA_JOB_ARGS", "--config 'a b' <name>", "job_args", ("--config", "a b", "<name>"), id="shell words"
        ),
        pytest.param("OPEVA_JOB_ARGS", '["--x", "a b", ""]', "job_args", ("--x", "a b", ""), id="JSON arguments"),
        pytest.param("OPEVA_SHM_SIZE", "512M", "shm_size", 512 * 2**20, id="M"),
        pytest.param("OPEVA_SHM_SIZE", "1.5 GiB", "shm_size", 3 * 2**29, id="GiB"),
        pytest.param("OPEVA_SHM_SIZE", "2gb", "shm_size", 2**31, id="gb"),
        pytest.param("OPEVA_SHM_SIZE", "70000", "shm_size", 70000, id="bytes"),
        pytest.param("OPEVA_MIN_FREE_BYTES", "0", "min_free_bytes", 0, id="zero"),
        pytest.param("OPEVA_SETTLE_SECONDS", "0.25", "settle_seconds", 0.25, id="part of a second"),
        pytest.param(
            "OPEVA_MLFLOW_TRACKING_URI", "http://mlflow:5000", "mlflow_tracking_uri", "http://mlflow:5000", id="URL"
        ),
        pytest.param("DOCKER_HOST", "unix:///x.sock", "docker_host", "unix:///x.sock", id="engine"),
    ],
)
def test_a_variable_is_read_as_a_person_means_it(variable: str, text: str, field: str, value: Any) -> None:
    found = load_settings({variable: text})
    assert getattr(found, field) == value
    assert found.model_copy(update={field: getattr(Settings(), field)}) == Settings()


@pytest.mark.parametrize("empty", ["", " ", "\t\n"], ids=["empty", "space", "tab and line end"])
def test_empty_means_not_set(empty: str) -> None:
    assert load_settings({name: empty for name, _, _ in variables()}) == Settings()


def test_other_variables_are_not_ours() -> None:
    assert load_settings({"OPEVA_SOMETHING_ELSE": "x", "HOME": "/root", "shared_data": "/x"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        pytest.param("OPEVA_API_PORT", "eighty", "valid integer", id="port in words"),
        pytest.param("OPEVA_API_PORT", "65536", "less than or equal to 65535", id="port too large"),
        pytest.param("OPEVA_MAX_CONCURRENT_JOBS", "0", "greater than or equal to 1", id="no jobs"),
        pytest.param("OPEVA_SHM_SIZE", "lots", "number with K, M, G or T", id="size in words"),
        pytest.param("OPEVA_SHM_SIZE", "inf", "number with K, M, G or T", id="endless size"),
        pytest.param("OPEVA_SHM_SIZE", "-1G", "number with K, M, G or T", id="negative size"),
        pytest.param("OPEVA_SHM_SIZE", "1", "greater than or equal to 65536", id="size too small"),
        pytest.param("OPEVA_RESYNC_SECONDS", "0", "greater than 0", id="no pause"),
        pytest.param("OPEVA_RESYNC_SECONDS", "inf", "finite", id="for ever"),
        pytest.param("OPEVA_RESYNC_SECONDS", "nan", "finite", id="not a number"),
        pytest.param("OPEVA_CORS_ORIGINS", '["a"', "", id="half a JSON list"),
        pytest.param("OPEVA_CORS_ORIGINS", "[1]", "valid string", id="a list of numbers"),
        pytest.param("OPEVA_JOB_ARGS", "a 'b", "no closing quotation", id="half a quote"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_that_names_the_variable(variable: str, text: str, why: str) -> None:
    with pytest.raises(SettingsError) as found:
        load_settings({variable: text})
    assert str(found.value).startswith(f"cannot use {variable}={text!r}: ")
    assert why in str(found.value)
    assert "\n" not in str(found.value)


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(SettingsError) as found:
        load_settings({"OPEVA_API_PORT": "x" * 100_000})
    assert len(str(found.value)) < 300


def test_the_job_limit_follows_the_machine_but_is_at_least_four(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, jobs in ((None, 4), (1, 4), (64, 64)):
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        assert load_settings({}).max_concurrent_jobs == jobs


def test_every_variable_is_listed_once_with_what_it_is_for() -> None:
    rows = variables()
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)) == len(Settings.model_fields)
    assert all(name == "DOCKER_HOST" or name.startswith("OPEVA_") for name in names)
    assert all(meaning.endswith((".", ").")) for _, _, meaning in rows)


def test_a_default_may_be_written_out_as_it_is_listed() -> None:
    listed = {name: default for name, default, _ in variables() if name != "OPEVA_MAX_CONCURRENT_JOBS"}
    assert load_settings(listed) == Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().api_port = 1  # type: ignore[misc]
