"""The error type for user mistakes."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set, told in one line.

    The message names the file or field, what is wrong, and what would be right. The command line prints it without a
    traceback and exits with status 1.
    """
