"""The one error a user may meet."""


class UserError(Exception):
    """A mistake of the user's or of the data's, told in one line.

    The message names the file or field, what is wrong, and what would be right. `main.py` prints it
    without a traceback and exits with status 1.
    """
