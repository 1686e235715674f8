"""The `opeva` command: what can be typed, and what each of it prints."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from opeva_cli import show, submission
from opeva_cli.client import DEFAULT_SERVER, Client
from opeva_cli.errors import CommandError
from opeva_cli.up import up as run_services

app = typer.Typer(
    help="Run simulations from job-spec files.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Server = Annotated[str, typer.Option(envvar="OPEVA_SERVER", help="Address of the API.", show_default=True)]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, as 'opeva ps' shows it.")]


@app.callback(invoke_without_command=True)
def _bare(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Spec files.")]) -> None:
    """Check spec files on this machine, with the operator's own parser."""
    found = {file: submission.complaints(file) for file in files}
    for file, lines in found.items():
        for line in lines or [f"{file}: ok"]:
            typer.echo(line)
    if any(found.values()):
        raise typer.Exit(1)


@app.command()
def run(
    spec: Annotated[Path | None, typer.Argument(metavar="FILE", help="A spec file to submit.")] = None,
    config_path: Annotated[str | None, typer.Option(help="A file under configs/ of the shared volume.")] = None,
    config: Annotated[Path | None, typer.Option(help="A config file on this machine, sent along.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the job.")] = None,
    submitted_by: Annotated[str | None, typer.Option(help="Who asks for the run.")] = None,
    target_host: Annotated[str | None, typer.Option(help="Host that must run it.")] = None,
    image_tag: Annotated[str | None, typer.Option(help="Tag of the default image.")] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Submit a job over REST, and print its id."""
    if [spec, config_path, config].count(None) != 2:
        raise CommandError("cannot tell what to run: give one of FILE, --config-path and --config")
    words = {"job_name": name, "submitted_by": submitted_by, "target_host": target_host, "image_tag": image_tag}
    said = {word: value for word, value in words.items() if value is not None}
    client = Client(server)
    for body in _bodies(spec, config_path, config):
        accepted = client.run(body | said)
        typer.echo(f"{show.plain(accepted.get('job_id'))} {show.plain(accepted.get('status'))}")


def _bodies(spec: Path | None, config_path: str | None, config: Path | None) -> list[dict[str, object]]:
    if spec is not None:
        return submission.from_spec(spec)
    if config is not None:
        return [submission.from_config(config)]
    return [{"config_path": config_path}]


@app.command()
def ps(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    status: Annotated[str | None, typer.Option(help="Only those with this status.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As the server tells it.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List jobs, newest first."""
    jobs = Client(server).jobs(limit, status)
    if as_json:
        typer.echo(json.dumps(jobs, indent=1))
    elif jobs:
        show.print_table(show.jobs_table(jobs))
    else:
        typer.echo("no jobs")


@app.command()
def status(
    job_id: JobId,
    as_json: Annotated[bool, typer.Option("--json", help="As the server tells it.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Say how a job is doing."""
    record = Client(server).status(job_id)
    for line in [json.dumps(record, indent=1)] if as_json else show.facts(record):
        typer.echo(line)


@app.command()
def explain(
    what: Annotated[str, typer.Argument(metavar="ID|FILE", help="A job's id, or a spec file to submit later.")],
    as_json: Annotated[bool, typer.Option("--json", help="As the server tells it.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Say why a job waits, or what a spec would wait for."""
    client = Client(server)
    told = [client.explain_spec(job) for job in submission.jobs_in(Path(what))] if _is_file(what) else []
    for found in told or [client.explain(what)]:
        for line in [json.dumps(found, indent=1)] if as_json else show.reasons(found):
            typer.echo(line)


def _is_file(what: str) -> bool:
    return "/" in what or what.endswith((".yaml", ".yml", ".json"))


@app.command()
def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines.")] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Print a job's log."""
    for piece in Client(server).logs(job_id, tail=tail, follow=follow):
        typer.echo(piece, nl=False)


@app.command()
def stop(job_id: JobId, server: Server = DEFAULT_SERVER) -> None:
    """Stop a job, or cancel it while it waits."""
    typer.echo(show.plain(Client(server).stop(job_id)))


@app.command()
def delete(job_id: JobId, server: Server = DEFAULT_SERVER) -> None:
    """Delete an ended job with all its files."""
    typer.echo(show.plain(Client(server).delete(job_id)))


@app.command()
def up() -> None:
    """Run the operator and the API in the foreground until Ctrl-C."""
    raise typer.Exit(run_services(os.environ))


def main() -> None:
    """Run the command that was typed; a failure is one sentence on stderr and exit code 1."""
    try:
        app(prog_name="opeva")
    except CommandError as error:
        print(f"opeva: {error}", file=sys.stderr)
        sys.exit(1)
