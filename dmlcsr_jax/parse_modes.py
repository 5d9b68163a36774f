"""The modes of the command line that use a parser. They need no JAX if its engine does not."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.inference import predict as prediction
from dmlcsr_jax.inference.inputs import list_inputs


def predict(
    workdir: pathlib.Path,
    paths: Sequence[str],
    output: pathlib.Path,
    options: prediction.Options,
    *,
    examples: Callable[[], list[tuple[str, np.ndarray]]],
    **parser_options: Any,
) -> None:
    """Parses images and videos; without any named, `examples`.

    `parser_options` are those of `FaceParser.load`.
    """
    inputs = list_inputs(paths) if paths else None
    parser = FaceParser.load(workdir, **parser_options)
    prediction.predict(parser, inputs or examples(), output=output, options=options)


def demo(workdir: pathlib.Path, port: int, **parser_options: Any) -> None:
    """Serves a page on this machine where images can be parsed, until it is stopped."""
    from dmlcsr_jax.inference.demo import serve  # Gradio is an extra, and takes seconds to load

    serve(FaceParser.load(workdir, batch_size=1, **parser_options), port)
