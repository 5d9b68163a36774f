"""The first run: a small network on drawn faces, about five minutes on two cores, no download.

    make quickstart

or, step by step:

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart --mode=train
    python main.py --workdir=runs/quickstart --mode=evaluate --config.evaluation.split=test
    python main.py --workdir=runs/quickstart --mode=predict --config.evaluation.split=test
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.synthetic.update(train=1200, val=100, test=100, size=128)
    config.input.update(height=96, width=96)
    config.model.update(backbone="tiny", width=32)
    config.optimizer.learning_rate = 0.02
    config.self_regulation.update(epochs_before_cycles=4, cycle_epochs=1)
    config.training.update(batch_size=16, epochs=6, log_every=25, checkpoint_every=100)
    config.evaluation.every_epochs = 2
    return default.finish(config, arg)
