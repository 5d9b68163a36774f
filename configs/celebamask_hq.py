"""CelebAMask-HQ, the published recipe: 473², ResNet-101, SGD 1e-3, poly 0.9, 200 epochs, cycles from epoch 150.

    python main.py --config=configs/celebamask_hq.py --config.dataset.path=RAW --mode=prepare
    python main.py --config=configs/celebamask_hq.py --config.dataset.path=RAW --workdir=runs/celebamask_hq \
        --config.model.pretrained_backbone=resnet101.pth
    python main.py --workdir=runs/celebamask_hq --mode=evaluate --config.evaluation.split=test

RAW holds the official archive, unpacked: CelebA-HQ-img, CelebAMask-HQ-mask-anno, CelebA-HQ-to-CelebA-mapping.txt.
Expected of the last line by the paper: mean F1 86.1, mean IoU 77.8. It has not been run to its end here.
Expected time: 24,183 pictures x 200 epochs x 0.80 TFLOP = 3.9 EFLOP, so 27 hours where devices sustain 40 TFLOP/s
together. Derived, not measured: XLA counts 267 GFLOP a picture in the forward pass; a training step is taken as three.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.name = "celebamask_hq"
    return default.finish(config, arg)
