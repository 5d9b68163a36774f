"""Label maps that were resized with smoothing are told from real ones, thin as their parts may be."""

import cv2
import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets import celebamask_hq
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.label_checks import is_interpolated

# CelebAMask's classes as they are, and a user's own: skin, eyes, brows and lips, hair.
_OWN = np.zeros(256, np.uint8)
for _number, _names in enumerate(
    [("skin", "nose"), ("l_eye", "r_eye"), ("l_brow", "r_brow"), ("u_lip", "l_lip"), ("hair",)]
):
    for _name in _names:
        _OWN[celebamask_hq.SPEC.class_id(_name)] = _number + 1
TABLES = {"celebamask": np.arange(256, dtype=np.uint8), "own": _OWN}


def maps(table: str, size: int) -> list[np.ndarray]:
    return [TABLES[table][draw_face(seed, size)[1]] for seed in range(1024 // size)]


def with_pillow(labels: np.ndarray, factor: float, resampling: Image.Resampling) -> np.ndarray:
    height, width = labels.shape
    return np.array(Image.fromarray(labels).resize((int(factor * width), int(factor * height)), resampling))


@pytest.mark.parametrize("size", [64, 96, 256])
@pytest.mark.parametrize("table", TABLES)
def test_real_label_maps(table, size):
    for labels in maps(table, size):
        assert not is_interpolated(labels)
        assert not is_interpolated(with_pillow(labels, 0.6, Image.Resampling.NEAREST))
        assert not is_interpolated(with_pillow(labels, 2.3, Image.Resampling.NEAREST))


@pytest.mark.parametrize("size", [96, 256])
def test_resized_with_smoothing(size):
    for labels in maps("celebamask", size):
        for factor in (0.5, 0.8, 1.3, 2, 4):
            for resampling in (Image.Resampling.BILINEAR, Image.Resampling.LANCZOS):
                assert is_interpolated(with_pillow(labels, factor, resampling))
        assert is_interpolated(with_pillow(labels, 0.5, Image.Resampling.BOX))
        assert is_interpolated(cv2.resize(labels, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA))
        assert is_interpolated(cv2.resize(labels, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_LINEAR))


def test_few_classes():
    y, x = np.mgrid[:160, :160]
    disk = np.where((y - 80) ** 2 + (x - 80) ** 2 < 4000, 2, 0).astype(np.uint8)
    assert not is_interpolated(disk)
    for factor in (0.6, 2):
        assert is_interpolated(with_pillow(disk, factor, Image.Resampling.BILINEAR))


def test_thin_parts_between_others():
    """Lips of 1 to 4 pixels between skin and mouth, and a ring of glasses; 255 along every border."""
    labels = np.ones((120, 120), np.uint8)
    for row, height in ((30, 4), (50, 2), (70, 1)):
        labels[row : row + 20, 20:100] = 3
        cv2.ellipse(labels, (60, row + 10), (30, 6), 0, 0, 360, 2, height)
    assert not is_interpolated(labels)
    borders = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    assert not is_interpolated(np.where(borders, 255, labels).astype(np.uint8))
    assert not is_interpolated(np.zeros((8, 8), np.uint8))
