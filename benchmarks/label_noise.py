"""Measures what self-regulation gains on noisy training labels, in pairs of runs with the same seed.

    python main.py --config=configs/label_noise.py:clean --workdir=runs/clean
    python -m benchmarks.label_noise [--seeds 0 1 2] [--arms without published] -- --config.init_from=runs/clean

Every run takes the same number of steps. Runs of one seed share the order of the data, augmentation and label noise.
The table shows the mean F1 in percent on clean validation images after the last step and after the best one, and the
difference to training without self-regulation with the same seed. Finished runs are lines of
docs/evidence/label_noise.jsonl and are not repeated; stopped ones resume.
"""

from benchmarks import experiments


def _softened(target: str, soften: str, *, restart: bool = False) -> list[str]:
    section = "--config.self_regulation"
    return [f"{section}.target={target}", f"{section}.soften={soften}", f"{section}.restart={restart}"]


ARMS = {
    "without": ["--config.self_regulation.enabled=False"],
    "cycles": ["--config.self_regulation.self_ensemble=False", "--config.self_regulation.distillation=False"],
    # Stage one alone: the student is that of "without", the teacher the same network with recomputed statistics.
    "statistics": ["--config.self_regulation.epochs_before_cycles=60", "--config.self_regulation.restart=False"],
    "average": ["--config.self_regulation.distillation=False", "--config.self_regulation.restart=False"],
    "published": _softened("logits", "heads"),
    "probabilities": _softened("probabilities", "heads"),
    "attention": _softened("probabilities", "heads,attention"),
    "hard": _softened("probabilities", "heads,hard"),
    "restart": _softened("probabilities", "heads", restart=True),
    "everything": _softened("probabilities", "heads,attention,hard"),
    "everything, logits": _softened("logits", "heads,attention,hard"),
    "attention, restart": _softened("probabilities", "heads,attention", restart=True),  # the default
    "everything, restart": _softened("probabilities", "heads,attention,hard", restart=True),
}


if __name__ == "__main__":
    experiments.main(__doc__, "label_noise", "configs/label_noise.py", ARMS, seeds=8)
