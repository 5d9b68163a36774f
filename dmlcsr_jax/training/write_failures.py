"""Turns write failures into one UserError."""

import contextlib
import pathlib
import sys
import threading
from collections.abc import Iterator

from dmlcsr_jax.console import quiet
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path, absolute, reaching


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns what a full disk or a missing permission raises while writing below `place` into one UserError.

    It names the file if that is elsewhere, such as the training data.

    Meanwhile the threads that write are silenced: each would print its own traceback.
    """
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = threading.excepthook = lambda *_: None
    try:
        with quiet(), reaching(place):
            yield
    except UserError:
        raise
    except Exception as error:  # Orbax, TensorStore and the system raise many kinds
        reason = next((text for text in _WRITE_ERRORS if text.lower() in str(error).lower()), None)
        if reason is None:
            raise
        named = getattr(error, "filename", None)
        if isinstance(named, str) and not pathlib.Path(named).absolute().is_relative_to(absolute(place)):
            raise UserError(
                f"{named}: {reason}; the checkpoints in {place} are whole: the same command resumes from the last one"
            ) from error
        raise UserError(
            f"{place} cannot be written any more ({reason}); the checkpoints in it are whole: free some space, and the "
            "same command resumes from the last one"
        ) from error
    finally:
        sys.unraisablehook, threading.excepthook = hooks


_WRITE_ERRORS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "Read-only file system",
    "Permission denied",
)
