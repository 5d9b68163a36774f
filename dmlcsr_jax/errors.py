"""The error type for user mistakes."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set, told in one line.

    The message names the file or field, what is wrong, and what would be right. The command line prints it without a
    traceback and exits with status 1.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message, up to 200 characters, or its type if it has none; for other messages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
