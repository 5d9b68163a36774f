"""Helen, the paper's recipe: 473², ResNet-101, SGD 1e-3, poly 0.9, 200 epochs, cycles from epoch 150.

    python main.py --config=configs/helen.py --config.dataset.path=RAW --mode=prepare
    python main.py --config=configs/helen.py --config.dataset.path=RAW --workdir=runs/helen \
        --config.model.pretrained_backbone=resnet101.pth
    python main.py --workdir=runs/helen --mode=evaluate --config.evaluation.split=test

RAW is SmithCVPR2013_dataset_resized (images, labels, exemplars.txt, tuning.txt, testing.txt), or the relabeled HELEN*
({train,test}/NAME_image.jpg and NAME_label.png). HELEN* has no val split: add --config.evaluation.split=test.
Expected test score, from public leaderboards: overall F1 93.8. The full schedule has not been run here.
Expected time: 2,000 images x (200 epochs x 1.54 TFLOP, and 50 x 0.51 for the teacher) = 0.67 EFLOP, or 4.6 hours
at a sustained 40 TFLOP/s. This is derived, not measured: XLA counts 0.51 TFLOP per image in the forward pass, by direct
convolutions, and a training step counts as three.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config(arg, dataset="helen")
    config.self_regulation.update(target="logits", soften="heads", restart=False)
    return config
