"""Contact sheets: many small pictures on a few large ones."""

import pathlib

import cv2
import numpy as np

from dmlcsr_jax.errors import UserError

_COLUMNS, _ROWS = 5, 4
_SIDE, _CAPTION = 240, 20  # pixels
_JPEG_SIDE = 65535


def write_image(path: pathlib.Path, image: np.ndarray) -> None:
    """Writes an [H, W, 3] uint8 RGB picture in the format of its suffix."""
    if path.suffix == ".jpg" and max(image.shape) > _JPEG_SIDE:
        raise UserError(f"{path} cannot be written: JPEG has at most {_JPEG_SIDE} pixels a side; leave overlays out")
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise UserError(f"{path} cannot be written; is the disk full?")


class ContactSheet:
    """Writes `sheet_1.jpg`, `sheet_2.jpg` and so on into a folder, 20 pictures on each."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._tiles: list[np.ndarray] = []
        self._sheets = 0

    def add(self, image: np.ndarray, caption: str) -> None:
        """Adds an [H, W, 3] uint8 RGB picture; a full sheet is written at once."""
        self._tiles.append(_tile(image, caption))
        if len(self._tiles) == _COLUMNS * _ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what has not been written yet."""
        if not self._tiles:
            return
        empty = np.zeros_like(self._tiles[0])
        columns = min(_COLUMNS, len(self._tiles))
        rows = [self._tiles[start : start + columns] for start in range(0, len(self._tiles), columns)]
        rows[-1] = rows[-1] + [empty] * (columns - len(rows[-1]))
        self._sheets += 1
        write_image(self._folder / f"sheet_{self._sheets}.jpg", np.vstack([np.hstack(row) for row in rows]))
        self._tiles.clear()


def fitted(image: np.ndarray, side: int) -> np.ndarray:
    """The whole picture scaled until its longer side is `side` pixels."""
    zoom = side / max(image.shape[:2])
    size = max(1, round(zoom * image.shape[1])), max(1, round(zoom * image.shape[0]))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)


def _tile(image: np.ndarray, caption: str) -> np.ndarray:
    tile = np.zeros((_SIDE + _CAPTION, _SIDE, 3), np.uint8)
    small = fitted(image, _SIDE - 4)
    top, left = (_SIDE - small.shape[0]) // 2, (_SIDE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    cv2.putText(tile, caption[-32:], (4, _SIDE + 14), font, 0.4, white, 1, cv2.LINE_AA)
    return tile
