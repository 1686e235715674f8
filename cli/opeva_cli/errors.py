"""What the command tells a person when it cannot do what was asked."""


class CommandError(Exception):
    """Ends the command with one sentence on stderr and exit code 1."""
