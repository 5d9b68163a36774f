"""Terminal output: messages, progress bars, and silence for chatty libraries."""

import contextlib
from collections.abc import Iterator

from absl import logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dmlcsr_jax.files import printable

console = Console()
_warnings: dict[str, tuple[str, int]] = {}  # of this run: as shown, and how often each was given


def warn(text: str, *, example: str = "") -> None:
    """Prints a warning the first time in a run, with an example; `repeat_warnings` has it again at the end."""
    shown = f"{text} (such as {example})" if example else text
    first, count = _warnings.get(text, (shown, 0))
    _warnings[text] = first, count + 1
    if not count:
        print_plain(f"warning: {shown}")


def repeat_warnings() -> None:
    """Prints the warnings of the run once more, with their counts, and forgets them."""
    if _warnings:
        print_plain(f"{len(_warnings)} warning{'s' * (len(_warnings) > 1)} in this run:")
    for shown, count in _warnings.values():
        print_plain(f"warning{f' ({count} times)' * (count > 1)}: {shown}")
    _warnings.clear()


def print_plain(line: str) -> None:
    """Prints a line as it is: brackets are no markup, nothing is colored, and the terminal breaks it."""
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


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
