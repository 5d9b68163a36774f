"""onnxruntime on the CPU, in float32."""

import os

import numpy as np

from dmlcsr_jax.errors import UserError, first_line

_ERROR = 3  # severity; onnxruntime otherwise warns about devices that it does not find


class OnnxRuntimeGraph:
    """A network as `onnx_graph.build_model` writes it.

    Args:
      data: the file's content.
      name: the file, for messages.

    Raises:
      UserError: onnxruntime is not installed, or cannot read the file.
    """

    def __init__(self, data: bytes, name: str):
        import onnxruntime

        onnxruntime.set_default_logger_severity(_ERROR)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERROR
        if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
            options.intra_op_num_threads = len(os.sched_getaffinity(0))  # else it wants threads on all cores
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has kinds of its own
            raise UserError(f"{name} cannot be run by onnxruntime ({first_line(error)}); export it again") from error
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True

    def labels(self, images: np.ndarray) -> np.ndarray:
        """As `Graph.labels`."""
        return self._run("labels", images)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """As `Graph.logits`."""
        return self._run("logits", images)

    def _run(self, output: str, images: np.ndarray) -> np.ndarray:
        (result,) = self._session.run([output], {"images": images}, self._options)
        return np.asarray(result)
