"""The others' sides of the benchmarks of the whole network: PyTorch, torch.compile and onnxruntime."""

import contextlib
import logging
import os
import pathlib
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks import torch_losses
from benchmarks.side_by_side import Run
from benchmarks.torch_network import Norm, TorchDMLCSR, resize, torch_network_of
from benchmarks.workload import Workload, on_accelerator
from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.evaluation.confusion import scores
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.input_pipeline import Examples
from dmlcsr_jax.pipeline.transforms import fit_image
from dmlcsr_jax.types import Preprocessing

torch.set_num_threads(os.cpu_count())


class Parser(torch.nn.Module):
    """The parsing branch alone, as a module: that is what an exporter takes."""

    def __init__(self, network: TorchDMLCSR):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, C, h, w] of pictures [B, 3, H, W]."""
        return self.network.parse(x)


def device() -> torch.device:
    """The GPU where JAX has one, else the CPU."""
    return torch.device("cuda" if on_accelerator() and torch.cuda.is_available() else "cpu")


def network_of(work: Workload) -> TorchDMLCSR:
    """The network on its device, with its channels innermost: the quicker format on a GPU, and for inference."""
    return torch_network_of(work.variables()).to(device(), memory_format=torch.channels_last)


def mixed_precision(work: Workload) -> contextlib.AbstractContextManager:
    """Automatic mixed precision for bfloat16, nothing for float32."""
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=work.dtype == "bfloat16")


def normalized(images: np.ndarray) -> torch.Tensor:
    """[B, 3, H, W] float32, channels innermost, of [B, H, W, 3] uint8 pictures."""
    mean, std = (torch.tensor(values) for values in Preprocessing()[1:])
    return ((torch.from_numpy(images) / 255 - mean) / std).movedim(-1, 1)


def wait() -> None:
    """Waits for the GPU, if there is one."""
    if device().type == "cuda":
        torch.cuda.synchronize()


def parse(work: Workload, images: np.ndarray, compiled: bool = False) -> Run:
    """Parsing logits, eager or through torch.compile with the weights as constants (its quickest way)."""
    network = network_of(work)
    parser = Parser(network).eval()
    x = normalized(images).to(device())
    if compiled:
        torch._dynamo.reset()
        parser = torch.compile(parser, options={"freezing": True})

    def run() -> np.ndarray:
        # What torch.compile freezes must not have been made in inference mode.
        with torch.no_grad() if compiled else torch.inference_mode(), mixed_precision(work):
            logits = parser(x)
        wait()
        return logits.movedim(1, -1).float().cpu().numpy()

    return run


def parse_by_onnxruntime(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by onnxruntime on the exported network, on the CPU in float32."""
    import onnxruntime

    x = normalized(images).contiguous()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "network.onnx"))
        parser = Parser(torch_network_of(work.variables())).eval()
        with contextlib.redirect_stdout(None), warnings.catch_warnings(action="ignore"):
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(parser, (x,), path, input_names=["images"], dynamo=True)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: np.moveaxis(session.run(None, {"images": x.numpy()})[0], 1, -1)


def training_step(work: Workload) -> Run:
    """Forward, multi-task loss, backward and the optimizer's step; returns the loss."""
    memory_format = torch.channels_last if device().type == "cuda" else torch.contiguous_format
    network = torch_network_of(work.variables()).to(device(), memory_format=memory_format).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    images, labels = work.faces()
    x = normalized(images).to(device()).contiguous(memory_format=memory_format)
    labels = torch.from_numpy(labels).to(device(), torch.int64)

    def run() -> float:
        optimizer.zero_grad()
        with mixed_precision(work):
            predictions = network(x)
        total, _ = torch_losses.multi_task_loss(predictions, labels)
        total.backward()
        optimizer.step()
        wait()
        return total.item()

    if device().type == "cuda":
        run.device_peak_bytes = torch.cuda.max_memory_allocated
    return run


def evaluate(work: Workload, source: Examples, spec: FaceSpec) -> Run:
    """Decode, warp, parse, argmax, lay back, count: picture by picture but for the network; returns the scores."""
    network = network_of(work)

    def run() -> dict[str, Any]:
        confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
        for examples, x in batches(work, source):
            with torch.inference_mode(), mixed_precision(work):
                logits = network.parse(x.to(device()))
                predictions = resize(logits, x.shape[2:]).argmax(1).byte().cpu().numpy()
            for example, prediction in zip(examples, predictions, strict=True):
                label = cv2.imdecode(np.frombuffer(example["label"], np.uint8), cv2.IMREAD_GRAYSCALE)
                restored = restore_labels(prediction, label.shape[1], label.shape[0])
                pairs = (label.astype(np.int64) * spec.num_classes + restored)[label != IGNORE_ID]
                confusion += np.bincount(pairs, minlength=confusion.size).reshape(confusion.shape)
        return scores(confusion, spec)

    return run


def reestimate(work: Workload, source: Examples) -> Run:
    """Batch statistics, the average of the batches' own, by forward passes in training mode; returns the first mean."""
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
        return network.bn1.running_mean.cpu().numpy().copy()

    return run


def batches(work: Workload, source: Examples) -> Iterator[tuple[list[dict[str, Any]], torch.Tensor]]:
    """Examples, and their pictures decoded and warped one after the other."""
    for start in range(0, len(source), work.batch):
        examples = [source[index] for index in range(start, min(start + work.batch, len(source)))]
        pictures = [cv2.imdecode(np.frombuffer(example["image"], np.uint8), cv2.IMREAD_COLOR) for example in examples]
        pictures = [fit_image(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (work.size, work.size)) for picture in pictures]
        yield examples, normalized(np.stack(pictures))
