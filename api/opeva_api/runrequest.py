"""RunRequest: the body of a submission."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from opeva_specs.model import JobSpec, Resources

# Fields of a spec that go into it as they are; both spellings are taken.
TERMS = (
    "priority", "suspend", "active_deadline_seconds", "stall_seconds", "backoff_limit", "retry_on", "fail_on",
    "ttl_seconds_after_finished", "ttl_seconds_after_failed", "keep",
)  # fmt: skip


_QUANTITIES = ("cpu", "memory")


def _as_text(value: Any) -> Any:
    """A quantity is text in a spec, also where a number was sent."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def blank_is_none(value: Any) -> Any:
    """Text without its blanks at the ends; None when nothing is left."""
    stripped = value.strip() if isinstance(value, str) else value
    return None if stripped == "" else stripped


def _as_in_spec(name: str) -> Any:
    """A field under its name here and its name in a spec, with what the spec says of it."""
    return Field(
        None,
        validation_alias=AliasChoices(name, to_camel(name)),
        description=JobSpec.model_fields[name].description,
    )


Text = Annotated[Annotated[str, Field(max_length=256)] | None, BeforeValidator(blank_is_none)]


class RunRequest(BaseModel):
    """What a client asks for; empty text means not given, unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, json_schema_extra={"example": {"config_path": "rbc-quick.yaml"}}
    )

    config: dict[str, Any] | None = Field(None, description="The config itself.")
    config_path: Annotated[str | None, BeforeValidator(blank_is_none)] = Field(
        None, description="Instead of config: a file under configs/, with or without that prefix."
    )
    save_as: Text = Field(None, description="Also keep the config under this name.")
    target_host: Text = Field(None, description="Host that must run the job, one of /hosts; default: 'local'.")
    job_name: Text = Field(None, description="A name to show; default: experiment and run of the config.")
    submitted_by: Text = Field(None, description="Who asks.")
    image: Text = Field(None, description="Image; default from the server's settings.")
    image_tag: Text = Field(None, description="Another tag of that image.")
    target_worker_profile: Text = Field(None, description="A note for people: cpu or gpu.")
    resources: dict[str, Any] | None = Field(
        None,
        description="What the job may use at most; waiting is by this too.",
        json_schema_extra={"properties": Resources.model_json_schema(by_alias=True)["properties"]},
    )
    priority: int | None = _as_in_spec("priority")
    suspend: bool | None = _as_in_spec("suspend")
    active_deadline_seconds: int | None = _as_in_spec("active_deadline_seconds")
    stall_seconds: int | None = _as_in_spec("stall_seconds")
    backoff_limit: int | None = _as_in_spec("backoff_limit")
    retry_on: list[int] | None = _as_in_spec("retry_on")
    fail_on: list[int] | None = _as_in_spec("fail_on")
    ttl_seconds_after_finished: int | None = _as_in_spec("ttl_seconds_after_finished")
    ttl_seconds_after_failed: int | None = _as_in_spec("ttl_seconds_after_failed")
    keep: bool | None = _as_in_spec("keep")

    def terms(self) -> dict[str, Any]:
        """What of it goes into the spec as it is, under the spec's names; what is not given is None."""
        given = {key: value for key, value in (self.resources or {}).items() if value is not None}
        limits = {key: _as_text(value) if key in _QUANTITIES else value for key, value in given.items()}
        return {"resources": limits or None} | {to_camel(name): getattr(self, name) for name in TERMS}
