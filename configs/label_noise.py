"""What self-regulation does where training labels are noisy: a small network on drawn faces.

    python -m benchmarks.label_noise

runs this configuration with and without self-regulation, three seeds each, and prints the table; one run alone is

    python main.py --config=configs/label_noise.py --workdir=runs/label_noise/with_0 --config.seed=0

Six in ten training pictures have shifted boundaries, some of these also names of left and right exchanged or a part
missing (dmlcsr_jax/pipeline/label_noise.py); validation and test labels are clean.
"""

from configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.synthetic.update(train=400, val=100, test=200, size=80)
    config.input.update(height=64, width=64)
    config.label_noise.update(share=0.6, boundary=0.04, swap=0.3, drop=0.5)
    config.model.update(backbone="tiny", width=16)
    config.optimizer.learning_rate = 0.02
    config.self_regulation.update(epochs_before_cycles=30, cycle_epochs=6)
    config.training.update(batch_size=16, epochs=60, log_every=25, checkpoint_every=600)
    config.evaluation.update(every_epochs=6, batch_size=50)
    return default.finish(config, arg)
