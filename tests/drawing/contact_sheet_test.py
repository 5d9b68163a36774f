"""Contact sheets: twenty images on each, in order, captioned."""

import numpy as np

from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.drawing.contact_sheet import ContactSheet


def sheets(folder, count, captions=True):
    """Writes `count` plain images, each brighter than the one before, and reads their sheets."""
    sheet = ContactSheet(folder)
    for i in range(count):
        sheet.add(np.full((30, 20, 3), 10 * (i + 1), np.uint8), f"image {i}" if captions else "")
    sheet.flush()
    sheet.flush()  # nothing is left to write
    return [decode_image(path.read_bytes()) for path in sorted(folder.iterdir())]


def test_images_are_in_order_and_the_rest_is_black(tmp_path):
    first, second = sheets(tmp_path, 23)
    assert first.shape == (4 * 260, 5 * 240, 3) and second.shape == (260, 3 * 240, 3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["sheet_1.jpg", "sheet_2.jpg"]
    centers = np.concatenate([first[120::260, 120::240].reshape(20, 3), second[120::260, 120::240].reshape(3, 3)])
    assert np.abs(centers.astype(int) - 10 * np.arange(1, 24)[:, None]).max() <= 3
    assert first[120, 5].max() < 20  # a tall image leaves black on both sides


def test_captions_stand_below_their_images(tmp_path):
    for captions in (True, False):
        (tmp_path / str(captions)).mkdir()
        (sheet,) = sheets(tmp_path / str(captions), 6, captions)
        assert sheet.shape == (2 * 260, 5 * 240, 3)
        assert (sheet[241:260, 4:200].max() > 150) == captions
        assert sheet[280:, 240:].max() < 20  # tiles that stayed empty
