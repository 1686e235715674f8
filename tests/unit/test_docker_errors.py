"""Every error of the Docker library, and of what is beneath it, becomes one of ours that says what is known."""

import inspect
import json
from collections.abc import Callable

import pytest
import requests
import urllib3
from docker import errors

from opeva_operator.docker_engine import engine_error, translated
from opeva_operator.engine import (
    ContainerGone,
    EngineError,
    EngineUnreachable,
    ImageMissing,
    NameTaken,
    NetworkNotFound,
)


def _answer(status: int, words: str, kind: type[errors.APIError] = errors.APIError) -> errors.APIError:
    response = requests.Response()
    response.status_code = status
    response.url = "http+docker://localhost/v1.41/somewhere"
    return kind("refused", response=response, explanation=words)


# One of each class that the library has, and what it means.
LIBRARY: dict[type[Exception], tuple[Callable[[], Exception], type[EngineError]]] = {
    errors.DockerException: (lambda: errors.DockerException("no version"), EngineUnreachable),
    errors.APIError: (lambda: _answer(400, "bad parameter"), EngineError),
    errors.NotFound: (lambda: _answer(404, "No such container: x", errors.NotFound), ContainerGone),
    errors.ImageNotFound: (lambda: _answer(404, "No such image: x:1", errors.ImageNotFound), ImageMissing),
    errors.InvalidVersion: (lambda: errors.InvalidVersion("too old"), EngineUnreachable),
    errors.InvalidRepository: (
        lambda: errors.InvalidRepository("Repository name cannot contain a scheme"),
        EngineError,
    ),
    errors.InvalidConfigFile: (lambda: errors.InvalidConfigFile("broken"), EngineUnreachable),
    errors.InvalidArgument: (lambda: errors.InvalidArgument("both"), EngineError),
    errors.DeprecatedMethod: (lambda: errors.DeprecatedMethod("old"), EngineError),
    errors.TLSParameterError: (lambda: errors.TLSParameterError("no certificate"), EngineUnreachable),
    errors.NullResource: (lambda: errors.NullResource("Resource ID was not provided"), EngineError),
    errors.ContainerError: (lambda: errors.ContainerError("c", 1, "x", "i", "e"), EngineUnreachable),
    errors.StreamParseError: (lambda: errors.StreamParseError(ValueError("torn")), EngineUnreachable),
    errors.BuildError: (lambda: errors.BuildError("no", iter(())), EngineUnreachable),
    errors.ImageLoadError: (lambda: errors.ImageLoadError("no"), EngineUnreachable),
    errors.MissingContextParameter: (lambda: errors.MissingContextParameter("name"), EngineUnreachable),
    errors.ContextAlreadyExists: (lambda: errors.ContextAlreadyExists("name"), EngineUnreachable),
    errors.ContextException: (lambda: errors.ContextException("no"), EngineUnreachable),
    errors.ContextNotFound: (lambda: errors.ContextNotFound("name"), EngineUnreachable),
}

BENEATH = [
    pytest.param(ConnectionRefusedError(111, "Connection refused"), "Connection refused", id="refused"),
    pytest.param(FileNotFoundError(2, "No such file or directory"), "No such file", id="no socket"),
    pytest.param(PermissionError(13, "Permission denied"), "Permission denied", id="not allowed"),
    pytest.param(requests.ConnectionError("broken"), "broken", id="connection"),
    pytest.param(requests.ReadTimeout("read timed out"), "timed out", id="read timeout"),
    pytest.param(requests.ConnectTimeout("connect timed out"), "timed out", id="connect timeout"),
    pytest.param(requests.exceptions.ChunkedEncodingError("cut"), "cut", id="cut"),
    pytest.param(requests.exceptions.JSONDecodeError("no JSON", "<html>", 0), "no JSON", id="another server"),
    pytest.param(urllib3.exceptions.ProtocolError("cut"), "cut", id="protocol"),
    pytest.param(json.JSONDecodeError("torn", "{", 0), "torn", id="torn line"),
]


def test_no_class_of_the_library_is_missing() -> None:
    known = {found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, Exception)}
    assert known == set(LIBRARY)


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_each_class_of_the_library_has_a_meaning(kind: type[Exception]) -> None:
    make, meaning = LIBRARY[kind]
    with pytest.raises(EngineError) as raised, translated("try it"):
        raise make()
    assert type(raised.value) is meaning
    assert str(raised.value).startswith("cannot try it: ")
    assert isinstance(raised.value.__cause__, kind)


@pytest.mark.parametrize(("error", "words"), BENEATH)
def test_what_breaks_beneath_the_library_means_that_nobody_knows(error: Exception, words: str) -> None:
    with pytest.raises(EngineUnreachable, match=words), translated("try it"):
        raise error


@pytest.mark.parametrize(
    ("status", "words", "meaning"),
    [
        pytest.param(404, "No such container: abc", ContainerGone, id="container gone"),
        pytest.param(404, "Cannot kill container: abc: No such container: abc", ContainerGone, id="gone at a signal"),
        pytest.param(404, "No such image: nope/nope:1", ImageMissing, id="no image at creation"),
        pytest.param(404, "network nope-net not found", NetworkNotFound, id="no network at a start"),
        pytest.param(404, 'exec: "x": executable file not found in $PATH', EngineError, id="no command"),
        pytest.param(404, "page not found", EngineError, id="not the engine that we know"),
        pytest.param(409, 'The container name "/a" is already in use by container "b".', NameTaken, id="name taken"),
        pytest.param(409, "container is marked for removal and cannot be started", ContainerGone, id="going"),
        pytest.param(409, "Container abc is already paused", EngineError, id="another conflict"),
        pytest.param(400, "OCI runtime create failed: runc create failed", EngineError, id="the runtime's words"),
        pytest.param(403, "forbidden by a proxy", EngineError, id="not allowed"),
        pytest.param(500, "context deadline exceeded", EngineUnreachable, id="server error"),
        pytest.param(500, "No such container: abc", EngineUnreachable, id="a server error proves nothing"),
        pytest.param(503, "", EngineUnreachable, id="no service"),
    ],
)
def test_an_answer_means_what_status_and_words_say_together(
    status: int, words: str, meaning: type[EngineError]
) -> None:
    error = engine_error(_answer(status, words), "try it")
    assert type(error) is meaning
    assert words in str(error)


def test_the_systems_own_words_come_through_all_wrappings() -> None:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as cause:
            raise requests.ConnectionError("('Connection aborted.', ConnectionRefusedError(111, …))") from cause
    except requests.ConnectionError as error:
        assert str(engine_error(error, "list containers")) == "cannot list containers: Connection refused"


def test_our_own_errors_pass_unchanged() -> None:
    mine = NameTaken("taken")
    with pytest.raises(NameTaken) as raised, translated("try it"):
        raise mine
    assert raised.value is mine
