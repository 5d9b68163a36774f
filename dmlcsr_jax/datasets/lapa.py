"""LaPa (Liu et al., AAAI 2020): 22,176 faces, 11 classes."""

from dmlcsr_jax.datasets.spec import FaceSpec

# "left" is the left of the picture.
SPEC = FaceSpec(
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
