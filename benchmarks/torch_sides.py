"""The peers' sides of the benchmarks: PyTorch, torch.compile, onnxruntime and OpenVINO."""

import contextlib
import logging
import os
import pathlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks import torch_losses
from benchmarks.side_by_side import Run
from benchmarks.torch_network import Norm, TorchDMLCSR, resize, torch_network_of
from benchmarks.workload import Workload, on_accelerator
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.evaluation.confusion import scores
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.input_pipeline import Examples
from dmlcsr_jax.pipeline.transforms import fit_image
from dmlcsr_jax.types import IGNORE_ID, Preprocessing


class Parser(torch.nn.Module):
    """The parsing branch alone, as a module, because exporters need one."""

    def __init__(self, network: TorchDMLCSR):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, C, h, w] of images [B, 3, H, W]."""
        return self.network.parse(x)


def device() -> torch.device:
    """The GPU if JAX uses one, else the CPU."""
    return torch.device("cuda" if on_accelerator() and torch.cuda.is_available() else "cpu")


def network_of(work: Workload) -> TorchDMLCSR:
    """The network on its device in channels-last format, which is faster on a GPU, and on a CPU for inference."""
    return _channels_last(torch_network_of(work.variables()).to(device()))


def mixed_precision(work: Workload) -> contextlib.AbstractContextManager[Any]:
    """Automatic mixed precision for bfloat16; does nothing for float32."""
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=work.dtype == "bfloat16")


def normalized(images: np.ndarray) -> Tensor:
    """[B, H, W, 3] uint8 images -> [B, 3, H, W] float32, channels-last in memory."""
    preprocessing = Preprocessing()
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return ((torch.from_numpy(images) / 255 - mean) / std).movedim(-1, 1)


def wait() -> None:
    """Waits for the GPU, if there is one."""
    if device().type == "cuda":
        torch.cuda.synchronize()


def parse(work: Workload, images: np.ndarray, *, compiled: bool = False) -> Run:
    """Parsing logits, eager or through torch.compile with the weights as constants (its fastest mode)."""
    network = network_of(work)
    parser = Parser(network).eval()
    x = normalized(images).to(device())
    if compiled:
        torch._dynamo.reset()
        parser = torch.compile(parser, options={"freezing": True})

    def run() -> np.ndarray:
        # torch.compile cannot freeze tensors that were created in inference mode.
        with torch.no_grad() if compiled else torch.inference_mode(), mixed_precision(work):
            logits = parser(x)
        wait()
        return logits.movedim(1, -1).float().cpu().numpy()

    return run


def parse_by_onnxruntime(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by onnxruntime from the exported network, on the CPU in float32."""
    import onnxruntime

    x = normalized(images).contiguous()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    with _exported(work, x) as path:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: np.moveaxis(np.asarray(session.run(None, {"images": x.numpy()})[0]), 1, -1)


def parse_by_openvino(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by OpenVINO from the exported network, on the CPU."""
    import openvino

    x = normalized(images).contiguous()
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if work.dtype == "bfloat16" else "f32", "PERFORMANCE_HINT": "LATENCY"}
    with _exported(work, x) as path:
        compiled = openvino.Core().compile_model(path, "CPU", hints)
    return lambda: np.moveaxis(compiled(x.numpy())[0], 1, -1)


@contextlib.contextmanager
def _exported(work: Workload, x: Tensor) -> Iterator[str]:
    """The parsing branch as PyTorch writes it to ONNX for images of this shape, in a folder that is removed again."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "network.onnx"))
        parser = Parser(torch_network_of(work.variables())).eval()
        with contextlib.redirect_stdout(None), warnings.catch_warnings(action="ignore"):
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(parser, (x,), path, input_names=["images"], dynamo=True)
        yield path


def training_step(work: Workload, *, steps: int = 1) -> Run:
    """Forward pass, loss, backward pass and optimizer step, `steps` times; the run returns the first loss."""
    images, labels = work.faces()
    network, x = torch_network_of(work.variables()).to(device()).train(), normalized(images).to(device())
    if device().type == "cuda":
        network = _channels_last(network)
    else:
        x = x.contiguous()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    targets = torch.from_numpy(labels).to(device(), torch.int64)

    def step() -> Tensor:
        optimizer.zero_grad()
        with mixed_precision(work):
            predictions = network(x)
        total, _ = torch_losses.multi_task_loss(predictions, targets)
        total.backward()
        optimizer.step()
        return total.detach()

    def run() -> float:
        losses = [step() for _ in range(steps)]
        wait()
        return losses[0].item()

    if device().type == "cuda":
        run.device_peak_bytes = torch.cuda.max_memory_allocated  # pyright: ignore[reportFunctionMemberAccess]
    return run


class _Gradient(NamedTuple):
    """A tensor that becomes a numpy array where it is pickled, so that a run that is timed does not fetch it."""

    tensor: Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.tensor.movedim(1, -1).cpu().numpy(),)


def lovasz_softmax(probabilities: np.ndarray, labels: np.ndarray) -> Run:
    """Lovász-softmax of [B, H, W, C] float32 and [B, H, W]; the run returns the loss and the gradient [B, H, W, C]."""
    leaf = torch.tensor(probabilities).movedim(-1, 1).contiguous().to(device()).requires_grad_()
    targets = torch.from_numpy(labels).to(device(), torch.int64)

    def run() -> tuple[float, _Gradient]:
        loss = torch_losses.lovasz_softmax(leaf, targets)
        (gradient,) = torch.autograd.grad(loss, leaf)
        wait()
        return loss.item(), _Gradient(gradient)

    return run


def evaluate(work: Workload, source: Examples, spec: FaceSpec) -> Run:
    """Evaluation, image by image except for the network: the run returns the scores."""
    network = network_of(work)

    def run() -> dict[str, Any]:
        confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
        for examples, x in batches(work, source):
            with torch.inference_mode(), mixed_precision(work):
                logits = network.parse(x.to(device()))
                predictions = resize(logits, x.shape[2:]).argmax(1).byte().cpu().numpy()
            for example, prediction in zip(examples, predictions, strict=True):
                label = _decode(example["label"], cv2.IMREAD_GRAYSCALE)
                restored = restore_labels(prediction, label.shape[1], label.shape[0])
                pairs = (label.astype(np.int64) * spec.num_classes + restored)[label != IGNORE_ID]
                confusion += np.bincount(pairs, minlength=confusion.size).reshape(confusion.shape)
        return scores(confusion, spec)

    return run


def recompute_statistics(work: Workload, source: Examples) -> Run:
    """Batch statistics averaged over forward passes in training mode; the run returns the first layer's mean."""
    network = network_of(work)
    network.train()
    norms = [module for module in network.modules() if isinstance(module, Norm)]

    def run() -> np.ndarray:
        with torch.no_grad(), mixed_precision(work):
            for number, (_, x) in enumerate(batches(work, source), 1):
                for norm in norms:
                    norm.momentum = 1 / number
                network(x.to(device()))
        wait()
        return network.context.conva[1].running_mean.cpu().numpy().copy()

    return run


def batches(work: Workload, source: Examples) -> Iterator[tuple[list[Mapping[str, Any]], Tensor]]:
    """Batches of examples with their images, which are decoded and warped one by one."""
    for start in range(0, len(source), work.batch):
        examples = [source[index] for index in range(start, min(start + work.batch, len(source)))]
        images = [cv2.cvtColor(_decode(example["image"], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for example in examples]
        yield examples, normalized(np.stack([fit_image(image, (work.size, work.size)) for image in images]))


def _channels_last(network: TorchDMLCSR) -> TorchDMLCSR:
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _decode(data: bytes, mode: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    assert image is not None, "an example cannot be decoded"
    return image
