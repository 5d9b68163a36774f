"""What people see while something runs."""

import contextlib
from collections.abc import Iterator

from absl import logging
from rich.console import Console

console = Console()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries log (TFDS about TensorFlow, Orbax about its modes) from the screen; they still raise."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
