"""Terminal output: messages, progress bars, and silence for chatty libraries."""

import contextlib
from collections.abc import Iterator

from absl import logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides what libraries log (TFDS about TensorFlow, Orbax about its modes); they still raise."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def progress_bar(description: str, *, transient: bool = False) -> Progress:
    """A bar with counts and time left, to be used as a context; each task has a field `text`, shown at its end.

    Args:
      description: what stands before the bar.
      transient: whether the bar disappears when it is done.
    """
    return Progress(
        TextColumn(description),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        expand=True,
        transient=transient,
    )
