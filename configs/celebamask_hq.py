"""CelebAMask-HQ, the paper's recipe: 473², ResNet-101, SGD 1e-3, poly 0.9, 200 epochs, cycles from epoch 150.

    python main.py --config=configs/celebamask_hq.py --config.dataset.path=RAW --mode=prepare
    python main.py --config=configs/celebamask_hq.py --config.dataset.path=RAW --workdir=runs/celebamask_hq \
        --config.model.pretrained_backbone=resnet101.pth
    python main.py --workdir=runs/celebamask_hq --mode=evaluate --config.evaluation.split=test

RAW is the unpacked official archive: CelebA-HQ-img, CelebAMask-HQ-mask-anno, CelebA-HQ-to-CelebA-mapping.txt.
Expected test scores, from the paper: mean F1 86.1, mean IoU 77.8. The full schedule has not been run here.
Expected time: 24,183 images x (200 epochs x 1.54 TFLOP, and 50 x 0.51 for the teacher) = 8.1 EFLOP, or 56 hours
at a sustained 40 TFLOP/s. This is derived, not measured: XLA counts 0.51 TFLOP per image in the forward pass, by direct
convolutions, and a training step counts as three.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(arg, dataset="celebamask_hq")
    config.self_regulation.update(target="logits", soften="heads", restart=False)
    return config
