"""Your own images and labels, sized for two processor cores: about an hour for 750 images.

    python main.py --config=configs/folder.py --config.dataset.path=ROOT --workdir=runs/folder

ROOT holds {train,val}/{images,labels} and label_names.txt with one class per line; docs/your_data.md has the details.
Without val, --config.dataset.folder.val_share=0.1 sets a tenth of train aside.

Self-regulation is off, as in the run that the README reports. If many labels are wrong, turn it on with
--config.self_regulation.enabled=True, and begin its cycles where the validation score peaks:
--config.self_regulation.epochs_before_cycles=N (docs/self_regulation.md).
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(dataset="folder")
    config.input.update(height=128, width=128)
    config.model.update(backbone="tiny", width=32)
    config.optimizer.learning_rate = 0.02
    config.self_regulation.update(enabled=False, epochs_before_cycles=40, cycle_epochs=8)
    config.training.update(batch_size=16, epochs=56, log_every=20, checkpoint_every=200)
    config.evaluation.every_epochs = 7
    return default.finish(config, arg)
