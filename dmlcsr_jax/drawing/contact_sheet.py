"""Contact sheets: many small images on a few large ones."""

import pathlib

import cv2
import numpy as np

from dmlcsr_jax.drawing.images import resize_longer_side, write_image

_COLUMNS, _ROWS = 5, 4
_SIDE, _CAPTION, _MARGIN = 240, 20, 2  # pixels
_CAPTION_LENGTH = 32  # characters


class ContactSheet:
    """Writes `sheet_1.jpg`, `sheet_2.jpg` and so on into a folder, 20 images on each; `name` replaces `sheet`."""

    def __init__(self, folder: pathlib.Path, name: str = "sheet"):
        self._folder, self._name = folder, name
        self._tiles: list[np.ndarray] = []
        self._sheets = 0

    def add(self, image: np.ndarray, caption: str) -> None:
        """Adds an [H, W, 3] uint8 RGB image; a full sheet is written at once."""
        self._tiles.append(_tile(image, caption))
        if len(self._tiles) == _COLUMNS * _ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes the images that are not on a sheet yet."""
        if not self._tiles:
            return
        empty = np.zeros_like(self._tiles[0])
        columns = min(_COLUMNS, len(self._tiles))
        rows = [self._tiles[start : start + columns] for start in range(0, len(self._tiles), columns)]
        rows[-1] = rows[-1] + [empty] * (columns - len(rows[-1]))
        self._sheets += 1
        write_image(self._folder / f"{self._name}_{self._sheets}.jpg", np.vstack([np.hstack(row) for row in rows]))
        self._tiles.clear()


def _tile(image: np.ndarray, caption: str) -> np.ndarray:
    """The image centered on a black square, with the end of its caption below."""
    tile = np.zeros((_SIDE + _CAPTION, _SIDE, 3), np.uint8)
    small = resize_longer_side(image, _SIDE - 2 * _MARGIN)
    top, left = (_SIDE - small.shape[0]) // 2, (_SIDE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    cv2.putText(tile, caption[-_CAPTION_LENGTH:], (4, _SIDE + 14), font, 0.4, white, 1, cv2.LINE_AA)
    return tile
