"""The modes of the command line that use a parser. They need no JAX if its engine does not."""

from collections.abc import Callable, Sequence
from typing import Any

from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.inference import predict as prediction
from dmlcsr_jax.inference.inputs import list_inputs
from dmlcsr_jax.inference.options import Options
from dmlcsr_jax.inference.photos import Input
from dmlcsr_jax.paths import Path, local_path


def predict(
    workdir: Path,
    paths: Sequence[str],
    output: Path,
    options: Options,
    *,
    examples: Callable[[], list[tuple[str, Input]]],
    host: tuple[int, int] = (0, 1),
    **parser_options: Any,
) -> None:
    """Parses images and videos; without any named, `examples`.

    `host` is the index and the number of the processes that share them; `parser_options` are those of
    `FaceParser.load`.
    """
    output = local_path(output, "--output", "name a local folder, and copy the results from there")
    files, left_out = list_inputs(paths, output) if paths else (None, {})
    parser = FaceParser.load(workdir, **parser_options)
    prediction.predict(parser, files or examples(), output=output, options=options, left_out=left_out, host=host)


def demo(workdir: Path, port: int, **parser_options: Any) -> None:
    """Serves a page on this machine where images can be parsed, until it is stopped."""
    from dmlcsr_jax.inference.demo import serve  # Gradio is an extra, and takes seconds to load

    serve(FaceParser.load(workdir, batch_size=1, **parser_options), port)
