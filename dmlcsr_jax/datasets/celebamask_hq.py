"""CelebAMask-HQ (Lee et al., CVPR 2020): 30,000 faces, 19 classes."""

from dmlcsr_jax.datasets.spec import FaceSpec

# `l_` is the subject's left, which is the right of the picture.
SPEC = FaceSpec(
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
