"""Helen, the published recipe: 473², ResNet-101, SGD 1e-3, poly 0.9, 200 epochs, cycles from epoch 150.

    python main.py --config=configs/helen.py --config.dataset.path=RAW --mode=prepare
    python main.py --config=configs/helen.py --config.dataset.path=RAW --workdir=runs/helen \
        --config.model.pretrained_backbone=resnet101.pth
    python main.py --workdir=runs/helen --mode=evaluate --config.evaluation.split=test

RAW holds SmithCVPR2013_dataset_resized (images, labels, exemplars.txt, tuning.txt, testing.txt), or the relabeled
HELEN* ({train,test}/NAME_image.jpg and NAME_label.png), which has no val: add --config.evaluation.split=test.
Expected of the last line: overall F1 93.8, as public leaderboards report it. It has not been run to its end here.
Expected time: 2,000 pictures x 200 epochs x 0.80 TFLOP = 0.32 EFLOP, so 2.2 hours where devices sustain 40 TFLOP/s
together. Derived, not measured: XLA counts 266 GFLOP a picture in the forward pass; a training step is taken as three.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    config.dataset.name = "helen"
    return default.finish(config, arg)
