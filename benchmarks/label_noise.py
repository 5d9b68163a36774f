"""Measures what self-regulation gains on noisy training labels, in pairs of runs with the same seed.

    python main.py --config=configs/label_noise.py:clean --workdir=runs/clean
    python -m benchmarks.label_noise [--seeds 0 1 2] [--arms without published] -- --config.init_from=runs/clean

Every run takes the same number of steps and has its own seed for fresh weights, order, augmentation and label noise.
The table shows the mean F1 in percent on clean validation images after the last step and after the best one, and the
difference to training without self-regulation with the same seed. Finished runs are lines of
docs/evidence/label_noise.jsonl and are not repeated; stopped ones resume.
"""

from benchmarks import experiments

_TARGET = "--config.self_regulation.target="
_SOFTEN = "--config.self_regulation.soften="
_PROBABILITIES = [f"{_TARGET}probabilities", f"{_SOFTEN}heads"]
_EVERYTHING = [f"{_TARGET}probabilities", f"{_SOFTEN}heads,attention,hard"]
_RESTART = "--config.self_regulation.restart=True"
ARMS = {
    "without": ["--config.self_regulation.enabled=False"],
    "cycles": ["--config.self_regulation.self_ensemble=False", "--config.self_regulation.distillation=False"],
    "average": ["--config.self_regulation.distillation=False"],
    "published": [f"{_TARGET}logits", f"{_SOFTEN}heads"],
    "probabilities": _PROBABILITIES,
    "attention": [f"{_TARGET}probabilities", f"{_SOFTEN}heads,attention"],
    "hard": [f"{_TARGET}probabilities", f"{_SOFTEN}heads,hard"],
    "restart": [*_PROBABILITIES, _RESTART],
    "everything": _EVERYTHING,
    "everything, logits": [f"{_TARGET}logits", f"{_SOFTEN}heads,attention,hard"],
    "attention, restart": [f"{_TARGET}probabilities", f"{_SOFTEN}heads,attention", _RESTART],
    "everything, restart": [*_EVERYTHING, _RESTART],
}


if __name__ == "__main__":
    experiments.main(__doc__, "label_noise", "configs/label_noise.py", ARMS, seeds=8)
