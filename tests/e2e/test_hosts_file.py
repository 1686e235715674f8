"""A hosts file that cannot be used ends the start of the operator, with words for whoever wrote it."""

from pathlib import Path

import pytest
from tests.e2e.harness import Site

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("hosts: [{name: tower}]", "line 1: hosts[0]: needs 'url' and 'sharedData'", id="half an entry"),
        pytest.param(None, "cannot read", id="no file"),
    ],
)
def test_a_bad_hosts_file_ends_the_start_with_its_name_and_the_field(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "hosts.yaml"
    if text is not None:
        file.write_text(text)
    site = Site(tmp_path / "volume", "none", OPEVA_HOSTS=str(file))
    process = site.spawn()
    try:
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.wait()
        site.client.close()
    told = site.log.read_text()
    assert words in told and str(file) in told and "Traceback" not in told
