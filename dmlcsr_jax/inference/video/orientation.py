"""How a frame must be turned and mirrored to be upright."""

from typing import NamedTuple

import av
import numpy as np


class Orientation(NamedTuple):
    """Steps from the stored image to the upright one, in this order."""

    swaps_axes: bool = False
    mirrors_x: bool = False
    mirrors_y: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] as stored -> [H, W, 3] or [W, H, 3] upright, contiguous."""
        image = image.swapaxes(0, 1) if self.swaps_axes else image
        image = image[:, ::-1] if self.mirrors_x else image
        return np.ascontiguousarray(image[::-1] if self.mirrors_y else image)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Reads the display matrix, which takes stored (x, y, 1) to shown (x, y), to the next quarter turn.

    PyAV keeps a frame whose side data was read until Python's garbage collection: call this for few frames.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # this PyAV does not know all of the frame's side data; `rotation` tells all but mirroring
        quarter = round(frame.rotation / 90) % 4  # counterclockwise
        return Orientation(quarter % 2 == 1, quarter in (2, 3), quarter in (1, 2))
    if matrix is None:
        return Orientation()
    x_by_x, y_by_x, _, x_by_y, y_by_y = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(y_by_x) > abs(x_by_x):
        return Orientation(True, x_by_y < 0, y_by_x < 0)
    return Orientation(False, x_by_x < 0, y_by_y < 0)
