"""The file in `specs/` that tells whose folder it is: without it an empty folder may be one that is not mounted."""

from opeva_specs.volume import SENTINEL, SharedVolume


def sentinel_problem(volume: SharedVolume, instance: str) -> tuple[str, ...]:
    """Why the folder cannot be trusted, in a sentence; nothing when it is this volume's."""
    try:
        found = volume.read(f"specs/{SENTINEL}", 256).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return (f"specs/{SENTINEL} is missing: is the folder mounted? Nothing is deemed deleted until it is back",)
    except OSError as error:
        return (f"specs/{SENTINEL} cannot be read ({error.strerror}): nothing is deemed deleted",)
    if found != instance:
        return (f"specs/{SENTINEL} is that of another volume: nothing is deemed deleted",)
    return ()
