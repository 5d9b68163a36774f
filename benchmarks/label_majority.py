"""Compares one noisy label map with the majority of many, both scored against the clean one.

    python -m benchmarks.label_majority [--images=100] [--versions=101] [--size=64]

The labels of drawn faces are corrupted many times (dmlcsr_jax/pipeline/label_noise.py). The table shows the mean F1 in
percent of one noisy version and of each pixel's most frequent class; the latter is about the most that averaging can
recover.
"""

import numpy as np
from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.pipeline.label_noise import LabelNoise, corrupt

SPEC = get_spec("synthetic")
NOISES = {
    "boundary 0.01, swap 0.4, drop 0.8 (configs/label_noise.py)": LabelNoise(
        share=1, boundary=0.01, swap=0.4, drop=0.8
    ),
    "boundary 0.04, swap 0.4, drop 0.8": LabelNoise(share=1, boundary=0.04, swap=0.4, drop=0.8),
    "boundary 0.03, swap 0.2, drop 0.8": LabelNoise(share=1, boundary=0.03, swap=0.2, drop=0.8),
    "boundary 0.04": LabelNoise(share=1, boundary=0.04, swap=0, drop=0),
    "swap 0.4": LabelNoise(share=1, boundary=0, swap=0.4, drop=0),
    "drop 0.8": LabelNoise(share=1, boundary=0, swap=0, drop=0.8),
}


def mean_f1_of_one_and_majority(labels: list[np.ndarray], noise: LabelNoise, versions: int) -> tuple[float, float]:
    """Mean F1, 0..1, of one noisy version of each label map, and of the most frequent classes of all versions."""
    rng = np.random.default_rng(0)
    one, majority = (np.zeros((SPEC.num_classes,) * 2, np.int64) for _ in range(2))
    for label in labels:
        noisy = np.stack([corrupt(label, spec=SPEC, noise=noise, rng=rng) for _ in range(versions)])
        votes = np.stack([(noisy == number).sum(0) for number in range(SPEC.num_classes)])
        one += confusion_matrix(label, noisy[0], SPEC.num_classes)
        majority += confusion_matrix(label, votes.argmax(0), SPEC.num_classes)
    return scores(one, SPEC)["mean_f1"], scores(majority, SPEC)["mean_f1"]


def main() -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=100, help="number of label maps")
    parser.add_argument("--versions", type=int, default=101, help="noisy versions of each")
    parser.add_argument("--size", type=int, default=64, help="height and width of the label maps")
    flags = parser.parse_args()
    labels = [draw_face(10_000 + seed, flags.size)[1] for seed in range(flags.images)]
    table = Table("noise", title="mean F1 (%) against clean labels")
    table.add_column("one noisy label", justify="right")
    table.add_column(f"majority of {flags.versions}", justify="right")
    for name, noise in NOISES.items():
        values = mean_f1_of_one_and_majority(labels, noise, flags.versions)
        table.add_row(name, *(f"{100 * value:.1f}" for value in values))
    console.print(table)


if __name__ == "__main__":
    main()
