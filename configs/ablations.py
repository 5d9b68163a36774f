"""The recipe of the ablations: a small network, on drawn faces or on a folder of real ones; minutes on one core.

python -m benchmarks.ablations
python -m benchmarks.ablations -- --config.dataset.name=folder --config.dataset.path=ROOT
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.synthetic.update(train=600, val=200, test=200, size=80)
    config.input.update(height=64, width=64)
    config.model.update(backbone="tiny", width=16)
    config.optimizer.learning_rate = 0.05
    config.self_regulation.enabled = False
    config.training.update(batch_size=16, epochs=15, log_every=50, checkpoint_every=500)
    config.evaluation.update(every_epochs=5, batch_size=50)
    return default.finish(config, arg)
