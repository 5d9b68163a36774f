"""Faces found with a network alone; a nearest-neighbor copy of drawn labels stands in for the network."""

import cv2
import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.inference import searching
from dmlcsr_jax.inference.detector import Detection
from dmlcsr_jax.inference.face import FaceCrop
from dmlcsr_jax.inference.finding import face_classes
from dmlcsr_jax.inference.searching import search_faces
from dmlcsr_jax.pipeline.geometry import whole_image_matrix

CLASSES = face_classes(get_spec("celebamask_hq"))
SIZE = (128, 128)
calls = []


@pytest.fixture(scope="module")
def labels():
    return draw_face(3, 128)[1]


def parse(images, places):
    """Images hold class numbers."""
    calls.append([len(own) for own in places])
    return [
        tuple(
            FaceCrop(face, matrix, cv2.warpAffine(image[..., 0], matrix, SIZE[::-1], flags=cv2.INTER_NEAREST))
            for face, matrix in own
        )
        for image, own in zip(images, places, strict=True)
    ]


def as_image(labels):
    return np.repeat(labels[..., None], 3, 2)


def search(*images):
    calls.clear()
    return search_faces([as_image(image) for image in images], parse, CLASSES, SIZE)


def test_a_face_that_fills_the_image_is_parsed_once(labels):
    ((crop,),) = search(labels)
    np.testing.assert_array_equal(crop.matrix, whole_image_matrix(128, 128, SIZE))
    assert (crop.labels == labels).mean() > 0.95
    assert sum(map(sum, calls)) == 1


def test_small_faces_get_their_own_crops(labels):
    canvas = np.zeros((640, 640), np.uint8)
    canvas[40:168, 40:168] = labels
    canvas[300:556, 330:586] = np.kron(labels, np.ones((2, 2), np.uint8))
    ((small, large),) = search(canvas)
    assert large.face.box[0] > 320 and small.face.box[2] < 170
    for crop in (small, large):
        assert 0.1 < CLASSES.mask(crop.labels).mean() < 0.6


def test_a_tiny_face_is_found_in_a_part_of_the_image(labels):
    canvas = np.zeros((900, 900), np.uint8)
    canvas[700:828, 200:328] = labels
    ((crop,),) = search(canvas)
    assert 200 < crop.face.box[0] < crop.face.box[2] < 328
    assert 9 in calls[1]


def test_a_face_seen_twice_is_found_once(labels, monkeypatch):
    canvas = np.zeros((640, 640), np.uint8)
    canvas[256:384, 256:384] = labels
    ((crop,),) = search(canvas)
    left, top, right, bottom = crop.face.box
    shift = 0.4 * (right - left)
    seen = [Detection((left + x, top, right + x, bottom)) for x in (-shift, shift)]
    monkeypatch.setattr(searching, "_look_closer", lambda *_: [seen])
    ((again,),) = search(canvas)
    np.testing.assert_allclose(again.face.box, crop.face.box, atol=3)


def test_a_face_cut_by_the_border(labels):
    canvas = np.zeros((400, 400), np.uint8)
    canvas[136:264, :90] = labels[:, 38:]
    ((crop,),) = search(canvas)
    assert crop.face.box[0] < 5 and crop.matrix[0] @ (0, 0, 1) > 0


def test_no_face_no_crops_and_images_keep_their_order(labels):
    found = search(np.zeros((200, 300), np.uint8), labels, np.zeros((64, 64), np.uint8))
    assert [len(own) for own in found] == [0, 1, 0]
