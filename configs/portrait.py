"""The network that ships with the project, for photos of real faces: about two hours on two cores.

python main.py --config=configs/portrait.py --config.dataset.path=ROOT --workdir=runs/portrait
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(dataset="folder")
    config.input.update(height=256, width=256, scale=0.3, rotation=20.0, rotation_probability=0.8, color_jitter=0.3)
    config.model.update(backbone="efficientnet_lite0", width=16)
    config.optimizer.update(
        name="adamw", learning_rate=2e-3, backbone_factor=0.25, weight_decay=0.01, schedule="poly", warmup_epochs=1
    )
    config.self_regulation.enabled = False
    config.training.update(batch_size=16, epochs=24, log_every=20, checkpoint_every=100)
    config.evaluation.every_epochs = 6
    return default.finish(config, arg)
