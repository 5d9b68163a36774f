"""The classes of the known data sets, in the order of their published labels."""

import dataclasses

from dmlcsr_jax.datasets.spec import FaceSpec

# `l_` is the subject's left, which is the right of the picture. Lee et al., CVPR 2020.
CELEBAMASK_HQ = FaceSpec(
    name="celebamask_hq",
    class_names=(
        "background",
        "skin",
        "nose",
        "eye_g",
        "l_eye",
        "r_eye",
        "l_brow",
        "r_brow",
        "l_ear",
        "r_ear",
        "mouth",
        "u_lip",
        "l_lip",
        "hair",
        "hat",
        "ear_r",
        "neck_l",
        "neck",
        "cloth",
    ),
    flip_pairs=(("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear")),
    terms="CelebAMask-HQ: non-commercial research and educational purposes only.",
)

# "left" is the left of the picture. Liu et al., AAAI 2020.
LAPA = FaceSpec(
    name="lapa",
    class_names=(
        "background",
        "skin",
        "left_eyebrow",
        "right_eyebrow",
        "left_eye",
        "right_eye",
        "nose",
        "upper_lip",
        "inner_mouth",
        "lower_lip",
        "hair",
    ),
    flip_pairs=(("left_eyebrow", "right_eyebrow"), ("left_eye", "right_eye")),
    score_groups={
        "brows": ("left_eyebrow", "right_eyebrow"),
        "eyes": ("left_eye", "right_eye"),
        "mouth": ("upper_lip", "inner_mouth", "lower_lip"),
        "overall": ("brows", "eyes", "nose", "mouth"),
    },
    terms="LaPa: non-commercial research and educational purposes only.",
)

# LaPa's classes. Le et al., ECCV 2012; labels of Smith et al., CVPR 2013.
HELEN = dataclasses.replace(LAPA, name="helen", headline="overall", terms="Helen: research purposes only.")

SYNTHETIC = dataclasses.replace(CELEBAMASK_HQ, name="synthetic", terms="drawn by code, no restrictions")

SPECS = {spec.name: spec for spec in (CELEBAMASK_HQ, LAPA, HELEN, SYNTHETIC)}
