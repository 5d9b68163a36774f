"""LaPa, the paper's recipe: 473², ResNet-101, SGD 1e-3, poly 0.9, 200 epochs, cycles from epoch 150.

    python main.py --config=configs/lapa.py --config.dataset.path=RAW --mode=prepare
    python main.py --config=configs/lapa.py --config.dataset.path=RAW --workdir=runs/lapa \
        --config.model.pretrained_backbone=resnet101.pth
    python main.py --workdir=runs/lapa --mode=evaluate --config.evaluation.split=test

RAW is the unpacked official archive: {train,val,test}/{images,labels,landmarks}.
Expected test scores, from the paper: mean F1 92.4, mean IoU 87.1. The full schedule has not been run here.
Expected time: 18,176 images x (200 epochs x 1.54 TFLOP, and 50 x 0.51 for the teacher) = 6.1 EFLOP, or 42 hours
at a sustained 40 TFLOP/s. This is derived, not measured: XLA counts 0.51 TFLOP per image in the forward pass, by direct
convolutions, and a training step counts as three.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(arg, dataset="lapa")
    config.self_regulation.update(target="logits", soften="heads", restart=False)
    return config
