"""The network that ships with the project: for photos of real faces, EfficientNet-Lite0 with ImageNet weights."""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(dataset="folder")
    config.dataset.terms = "CelebAMask-HQ: non-commercial research and educational purposes only."
    config.input.update(height=320, width=320, scale=0.25, zoom=1.25, shift=0.05, rotation=25.0)
    config.input.update(rotation_probability=0.7, color_jitter=0.3, occlusion=0.15, gray=0.1)
    config.input.update(darkening=0.1, blur=0.2, noise=0.15, compression=0.3)
    config.input.update(rare_class_sampling=0.2, drawn_faces=0.05)
    config.model.update(backbone="efficientnet_lite0", width=16)
    config.optimizer.update(name="adamw", learning_rate=1.5e-3, backbone_factor=0.3, weight_decay=0.01)
    config.self_regulation.enabled = False
    config.training.update(batch_size=16, epochs=16, log_every=10, checkpoint_every=50)
    config.evaluation.every_epochs = 4
    return default.finish(config, arg)
