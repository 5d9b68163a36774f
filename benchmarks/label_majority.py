"""What is left to find in noisy labels: one noisy label map against what most of many say, both by the clean one.

    python -m benchmarks.label_majority [--pictures=100] [--versions=101] [--size=64]

Drawn faces' labels are made worse in many ways (dmlcsr_jax/pipeline/label_noise.py). The table gives the mean F1 in
percent of one such version and of each pixel's most frequent class; the latter is about what averaging can find.
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
    "boundary 0.04, swap 0.4, drop 0.8 (configs/label_noise.py)": LabelNoise(
        share=1, boundary=0.04, swap=0.4, drop=0.8
    ),
    "boundary 0.03, swap 0.2, drop 0.8": LabelNoise(share=1, boundary=0.03, swap=0.2, drop=0.8),
    "boundary 0.04": LabelNoise(share=1, boundary=0.04, swap=0, drop=0),
    "swap 0.4": LabelNoise(share=1, boundary=0, swap=0.4, drop=0),
    "drop 0.8": LabelNoise(share=1, boundary=0, swap=0, drop=0.8),
}


def mean_f1_of_one_and_most(labels: list[np.ndarray], noise: LabelNoise, versions: int) -> tuple[float, float]:
    """Mean F1, 0..1, of one noisy version of each label map, and of the most frequent class of all of them."""
    rng = np.random.default_rng(0)
    one, most = (np.zeros((SPEC.num_classes,) * 2, np.int64) for _ in range(2))
    for label in labels:
        noisy = np.stack([corrupt(label, spec=SPEC, noise=noise, rng=rng) for _ in range(versions)])
        votes = np.stack([(noisy == number).sum(0) for number in range(SPEC.num_classes)])
        one += confusion_matrix(label, noisy[0], SPEC.num_classes)
        most += confusion_matrix(label, votes.argmax(0), SPEC.num_classes)
    return scores(one, SPEC)["mean_f1"], scores(most, SPEC)["mean_f1"]


def main() -> None:
    """Prints the table."""
    parser = workload.described(__doc__)
    parser.add_argument("--pictures", type=int, default=100, help="label maps")
    parser.add_argument("--versions", type=int, default=101, help="noisy versions of each")
    parser.add_argument("--size", type=int, default=64, help="side of the label maps")
    flags = parser.parse_args()
    labels = [draw_face(10_000 + seed, flags.size)[1] for seed in range(flags.pictures)]
    table = Table("noise", title="mean F1 (%) by clean labels")
    table.add_column("one noisy label", justify="right")
    table.add_column(f"most of {flags.versions}", justify="right")
    for name, noise in NOISES.items():
        table.add_row(name, *(f"{100 * value:.1f}" for value in mean_f1_of_one_and_most(labels, noise, flags.versions)))
    console.print(table)


if __name__ == "__main__":
    main()
