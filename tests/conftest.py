"""What many tests need: images that no registry has to give."""

import subprocess
from pathlib import Path

import pytest

# The Docker library leaves a socket whose connection failed to the garbage collector. Connected ones name their other
# side in this warning, so that a socket which we forget is still an error.
_NEVER_CONNECTED = r"ignore:unclosed <socket.socket fd=\d+, family=1, type=1, proto=0>:ResourceWarning"

_MAKE_IMAGES = Path(__file__).parent / "images" / "make_images.sh"


def pytest_configure(config: pytest.Config) -> None:
    """Let warnings stay errors, but for one of a library."""
    config.addinivalue_line("filterwarnings", _NEVER_CONNECTED)


@pytest.fixture(scope="session")
def busybox() -> str:
    """An image with a shell, made if need be; fails when no Docker engine answers."""
    made = subprocess.run(["sh", str(_MAKE_IMAGES), "busybox"], capture_output=True, text=True, timeout=300)
    if made.returncode != 0:
        pytest.fail(f"cannot make the image for the tests: {made.stderr.strip()}", pytrace=False)
    return "opeva-test/busybox:latest"
