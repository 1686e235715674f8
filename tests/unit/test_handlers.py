"""Handlers are called for what is, not for what happened, and end in one reconcile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.simulation import Simulation

from opeva_operator import on


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What handlers of each cause were called with; they stand in for the project's own."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def noting(cause: str) -> on.Handler:
        def handler(**given: Any) -> None:
            seen.append((cause, given))
            given["reconcile"](given["name"])

        return handler

    monkeypatch.setattr(on, "_handlers", {cause: [noting(cause)] for cause in on._handlers})
    yield seen


def test_each_cause_is_derived_from_spec_and_status(tmp_path: Path, calls: list[tuple[str, dict[str, Any]]]) -> None:
    world = Simulation(tmp_path)
    world.drop("a", args=["one"])
    world.run()
    assert [cause for cause, _ in calls] == ["create"]
    assert calls[0][1]["spec"].args == ["one"]
    assert (calls[0][1]["meta"].name, calls[0][1]["status"], calls[0][1]["retry"]) == ("a", None, 0)

    calls.clear()
    world.restart()
    world.run()
    assert {cause for cause, _ in calls} == {"resume"}

    calls.clear()
    world.drop("a", args=["two"])
    world.run()
    assert {cause for cause, _ in calls} == {"update"}
    assert calls[0][1]["spec"].args == ["two"]
    assert calls[0][1]["status"].metadata.generation == 1

    world.wait(10)
    calls.clear()
    world.remove("a.yaml")
    world.run()
    assert [(cause, given["spec"]) for cause, given in calls] == [("delete", None)]


def test_a_temporary_error_is_followed_by_another_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def not_yet(name: str, reconcile: Any, **_: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise on.TemporaryError("not yet", delay=2)
        reconcile(name)

    monkeypatch.setitem(on._handlers, "create", [not_yet])
    world = Simulation(tmp_path)
    world.drop("a", args=["x"])
    world.run()
    assert not (tmp_path / "status" / "a.json").exists()
    world.wait(10)
    assert len(tries) == 3
    assert world.phase("a") == "Running Running"


def test_a_permanent_error_leaves_the_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: Any) -> None:
        raise on.PermanentError("not this one")

    monkeypatch.setitem(on._handlers, "create", [never])
    world = Simulation(tmp_path)
    world.drop("a", args=["x"])
    world.run()
    world.wait(5)
    assert world.engine.list() == []
    assert not (tmp_path / "status" / "a.json").exists()
