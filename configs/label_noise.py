"""Self-regulation on noisy training labels: a small network on drawn faces, three minutes a run on one core.

The network first learns from clean labels of other faces, then goes on with wrong ones, as if a user trained a good
network further on carelessly labeled images:

    python main.py --config=configs/label_noise.py:clean --workdir=runs/clean
    python -m benchmarks.label_noise -- --config.init_from=runs/clean

The second command runs the recipe in several ways, eight seeds each, and prints a table. A single run:

    python main.py --config=configs/label_noise.py --workdir=runs/label_noise/published_0 --config.init_from=runs/clean

In all training labels boundaries are shifted a little, most also lack a part, and four in ten have left and right
swapped (dmlcsr_jax/pipeline/label_noise.py). Validation labels are clean. Images are not augmented, so the network
memorizes wrong labels, which self-regulation is meant to prevent.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.synthetic.update(train=128, val=200, test=0, size=64)
    config.input.update(height=64, width=64)
    config.model.update(backbone="tiny", width=16)
    config.evaluation.update(every_epochs=5, batch_size=50)
    if arg == "clean":
        config.dataset.synthetic.update(train=2000, seed=1)
        config.optimizer.learning_rate = 0.05
        config.self_regulation.enabled = False
        config.training.update(batch_size=16, epochs=24, log_every=50, checkpoint_every=250)
        return config
    config.input.update(scale=0.0, rotation=0.0, flip_probability=0.0)
    config.label_noise.update(share=1.0, boundary=0.01, swap=0.4, drop=0.8)
    config.optimizer.learning_rate = 0.02
    config.self_regulation.update(epochs_before_cycles=10, cycle_epochs=5)
    config.training.update(batch_size=16, epochs=60, log_every=40, checkpoint_every=480)
    return default.finish(config, arg)
