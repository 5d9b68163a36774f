"""Self-regulation on noisy training labels: a small network on drawn faces.

This command runs the recipe with and without self-regulation, three seeds each, and prints a table:

    python -m benchmarks.label_noise

A single run:

    python main.py --config=configs/label_noise.py --workdir=runs/label_noise/with_0 --config.seed=0

All training labels have shifted boundaries, most also lack a part, and four in ten have left and right swapped
(dmlcsr_jax/pipeline/label_noise.py). Validation and test labels are clean. Images are not augmented, so the network
memorizes wrong labels, which self-regulation is meant to prevent.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.synthetic.update(train=400, val=200, test=200, size=80)
    config.input.update(height=64, width=64, scale=0.0, rotation=0.0, flip_probability=0.0)
    config.label_noise.update(share=1.0, boundary=0.04, swap=0.4, drop=0.8)
    config.model.update(backbone="tiny", width=16)
    config.optimizer.learning_rate = 0.02
    config.self_regulation.update(epochs_before_cycles=30, cycle_epochs=5)
    config.training.update(batch_size=16, epochs=80, log_every=25, checkpoint_every=600)
    config.evaluation.update(every_epochs=10, batch_size=50)
    return default.finish(config, arg)
