"""Your own pictures and labels, sized for two processor cores; about an hour for 750 pictures.

    python main.py --config=configs/folder.py --config.dataset.path=ROOT --workdir=runs/folder

Self-regulation is off, as in the run that the README reports; for noisy labels turn its two cycles on:
--config.self_regulation.enabled=True.

ROOT holds {train,val}/{images,labels}, and label_names.txt with one class a line.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.name = "folder"
    config.input.update(height=128, width=128)
    config.model.update(backbone="tiny", width=32)
    config.optimizer.learning_rate = 0.02
    config.self_regulation.update(enabled=False, epochs_before_cycles=40, cycle_epochs=8)
    config.training.update(batch_size=16, epochs=56, log_every=20, checkpoint_every=200)
    config.evaluation.every_epochs = 7
    return default.finish(config, arg)
