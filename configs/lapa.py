"""LaPa, the published recipe: 473², ResNet-101, SGD 1e-3, poly 0.9, 200 epochs, cycles from epoch 150.

    python main.py --config=configs/lapa.py --config.dataset.path=RAW --mode=prepare
    python main.py --config=configs/lapa.py --config.dataset.path=RAW --workdir=runs/lapa \
        --config.model.pretrained_backbone=resnet101.pth
    python main.py --workdir=runs/lapa --mode=evaluate --config.evaluation.split=test

RAW holds the official archive, unpacked: {train,val,test}/{images,labels,landmarks}.
Expected of the last line by the paper: mean F1 92.4, mean IoU 87.1. It has not been run to its end here.
Expected time: 18,176 pictures x 200 epochs x 0.80 TFLOP = 2.9 EFLOP, so 20 hours where devices sustain 40 TFLOP/s
together. Derived, not measured: XLA counts 266 GFLOP a picture in the forward pass; a training step is taken as three.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.name = "lapa"
    return default.finish(config, arg)
