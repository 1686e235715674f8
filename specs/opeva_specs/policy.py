"""May this spec run here: pure, and enforced by the operator on the very bytes it parsed."""

from opeva_specs.model import SimulationJob

_HOST_MODES = ("host", "container:", "service:")


def denied(job: SimulationJob) -> str | None:
    """One sentence why the job may not run here; None when it may."""
    network = job.spec.network or ""
    if network == _HOST_MODES[0] or network.startswith(_HOST_MODES[1:]):
        return f"network {network!r} would let the job into the host or another container: name a Docker network"
    reserved = [key for key in job.metadata.labels if key.startswith("opeva.io/")]
    if reserved:
        return f"label {reserved[0]!r} is reserved: labels that start with 'opeva.io/' are set by the operator"
    return None
