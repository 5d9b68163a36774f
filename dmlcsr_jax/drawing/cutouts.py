"""Images cut out along their parts, and masks of single parts."""

import cv2
import numpy as np

from dmlcsr_jax.datasets.images import encode_label


def cut_out(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 RGB with [H, W] uint8 alpha -> [H, W, 4] uint8 RGBA; the colors stay as they are."""
    return np.dstack([image, alpha])


def encode_cutout(cutout: np.ndarray) -> bytes:
    """A PNG file of [H, W, 4] uint8 RGBA."""
    return cv2.imencode(".png", cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def encode_mask(mask: np.ndarray) -> bytes:
    """A gray PNG file of an [H, W] bool mask: 255 inside, 0 outside."""
    return encode_label(np.where(mask, np.uint8(255), np.uint8(0)))
