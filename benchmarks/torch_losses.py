"""The multi-task loss in plain PyTorch, like `dmlcsr_jax.losses.multi_task_loss` without a teacher.

Lovász-softmax sorts the pixels class by class, like its authors' code and the published code.
`tests/benchmarks/torch_network_test.py` checks all terms.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.torch_network import resize
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.types import IGNORE_ID


def multi_task_loss(predictions: Iterable[Tensor], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted total and its terms.

    Args:
      predictions: parsing, binary and category edge logits [B, ..., h, w] at any size.
      labels: [B, H, W] int64; 255 is ignored.
    """
    parsing, binary, category = (resize(_at_least_float32(logits), labels.shape[1:]) for logits in predictions)
    binary_edges, category_edges = edge_labels(labels)
    losses = functional.cross_entropy(parsing, labels, ignore_index=IGNORE_ID, reduction="none")
    terms = {
        "lovasz": lovasz_softmax(torch.softmax(parsing, dim=1), labels),
        "cross_entropy": losses.sum() / (labels != IGNORE_ID).sum().clamp(min=1),
        "binary_edge": balanced_cross_entropy(binary, binary_edges),
        "category_edge": balanced_cross_entropy(category, category_edges),
        "binary_edge_attention": edge_attention(losses, binary_edges > 0),
        "category_edge_attention": edge_attention(losses, category_edges > 0),
    }
    return sum(getattr(LossWeights(), name) * value for name, value in terms.items()), terms


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Lovász-softmax over the classes that occur, from probabilities [B, C, H, W] and labels [B, H, W]."""
    num_classes = probabilities.shape[1]
    labels = labels.flatten()
    valid = labels != IGNORE_ID
    probabilities, labels = probabilities.movedim(1, -1).reshape(-1, num_classes)[valid], labels[valid]
    losses = []
    for number in range(num_classes):
        foreground = (labels == number).to(probabilities.dtype)
        if foreground.sum() == 0:
            continue
        errors, order = torch.sort((foreground - probabilities[:, number]).abs(), descending=True)
        losses.append(torch.dot(errors, jaccard_steps(foreground[order])))
    return torch.stack(losses).mean() if losses else 0 * probabilities.sum()


def jaccard_steps(foreground: Tensor) -> Tensor:
    """The increase of the Jaccard loss with each further pixel that is wrong, in this order."""
    positives = foreground.sum()
    jaccard = 1 - (positives - foreground.cumsum(0)) / (positives + (1 - foreground).cumsum(0))
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return jaccard


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy weighted by 1 - frequency of the class."""
    counts = torch.bincount(labels.flatten(), minlength=logits.shape[1]).to(logits.dtype)
    return functional.cross_entropy(logits, labels, weight=1 - counts / counts.sum())


def edge_attention(losses: Tensor, edges: Tensor) -> Tensor:
    """The mean over images of the mean of `losses` on `edges`, both [B, H, W]."""
    return ((losses * edges).sum((1, 2)) / edges.sum((1, 2)).clamp(min=1)).mean()


def edge_labels(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Binary and category edge labels [B, H, W] of labels [B, H, W], dilated by a 3x3 box."""
    height, width = labels.shape[1:]
    padded = functional.pad(labels, (1, 1, 1, 1), value=IGNORE_ID)
    edges = torch.zeros_like(labels, dtype=torch.bool)
    for row, column in ((0, 1), (1, 2), (2, 2), (2, 0)):
        neighbors = padded[:, row : row + height, column : column + width]
        edges |= (neighbors != labels) & (neighbors != IGNORE_ID)
    edges &= labels != IGNORE_ID
    edges = functional.max_pool2d(edges[:, None].float(), 3, 1, 1)[:, 0].long()
    return edges, torch.where(labels == IGNORE_ID, 0, edges * labels)
