"""Finds out whether a prepared data set can be learned from: which classes have no pixels, and in which splits."""

from collections.abc import Sequence

from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.errors import UserError


def pixel_warning(dataset: Dataset, splits: Sequence[str]) -> str:
    """A line that names every class without a pixel in one of these splits; "" if there is none."""
    absent = {split: dataset.summary.without_pixels(split, dataset.spec) for split in splits}
    lines = [
        f"{', '.join(names)} in {split}{_describe_binary(dataset, split)}" for split, names in absent.items() if names
    ]
    if not lines:
        return ""
    question = "do the class names have the order of the numbers in the label maps?"
    return f"classes without a pixel: {'; '.join(lines)}; {question}"


def require_training_pixels(dataset: Dataset) -> None:
    """Raises UserError unless there are training images with pixels of at least two classes."""
    if "train" not in dataset.splits:
        found = ", ".join(dataset.splits)
        raise UserError(
            f"{dataset.spec.name} has no split 'train', only {found}; put images into train/images and "
            f"their label maps into train/labels"
        )
    absent = dataset.summary.without_pixels("train", dataset.spec)
    present = [name for name in dataset.spec.class_names if name not in absent]
    if len(present) > 1:
        return
    advice = _describe_binary(dataset, "train") or (
        f"; write the number of its class into each pixel of the label maps, 0 to {dataset.spec.num_classes - 1}"
    )
    raise UserError(
        f"{dataset.spec.name}: no class{f' but {present[0]}' if present else ''} has pixels in train, so there is "
        f"nothing to learn{advice}"
    )


def _describe_binary(dataset: Dataset, split: str) -> str:
    """What is wrong with label maps that have nothing but 255, or 0 and 255."""
    spec, pixels = dataset.spec, dataset.summary.splits[split].pixels
    absent = dataset.summary.without_pixels(split, spec)
    if not pixels.get("ignored") or not set(spec.class_names[1:]) <= set(absent):
        return ""
    values = f"{spec.ignore_id}" if spec.class_names[0] in absent else f"0 and {spec.ignore_id}"
    return f" (the label maps have only {values}: {spec.ignore_id} is ignored; write 1)"
