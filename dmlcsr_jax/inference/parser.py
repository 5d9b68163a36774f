"""Pictures in, face parts out."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.detector import Detection, Detector, face_matrix, take_crop
from dmlcsr_jax.inference.face import FaceCrop, ParsedFace
from dmlcsr_jax.inference.images import Picture, as_array, is_one
from dmlcsr_jax.models import TestTimeAugmentation, create_model, parse_labels, parse_logits, prepare_variables
from dmlcsr_jax.pipeline.geometry import restore_crop, whole_image_matrix
from dmlcsr_jax.types import Array, Variables

Boxes = Sequence[Sequence[float]]  # (left, top, right, bottom) of each face, in pixels


class FaceParser:
    """Finds the parts of faces in pictures.

    parser = FaceParser.load("runs/quickstart")
    (face,) = parser("photo.jpg")
    face.mask("hair")

    Without a detector or boxes the whole picture is taken to be the face, as in the data sets; it is scaled into the
    network's input with its aspect kept, and the class numbers are brought back to its own size. With them each face
    is parsed in a crop of its own, turned upright where the detector gives points. The network is compiled twice at
    most, for one picture and for `batch_size` of them, whatever the pictures' sizes. The same pictures give the same
    labels every time.

    Args:
      variables: `params` and `batch_stats`; the edge heads' may be absent.
      metadata: classes, network and input preprocessing.
      batch_size: pictures that go through the network at once.
      detector: what finds faces in pictures, such as `CenterFace()`.
      augmentation: views whose logits are averaged, such as `TestTimeAugmentation(flip=True)`.
    """

    def __init__(
        self,
        variables: Variables,
        metadata: CheckpointMetadata,
        *,
        batch_size: int = 4,
        detector: Detector | None = None,
        augmentation: TestTimeAugmentation = TestTimeAugmentation(),
    ):
        self.spec = metadata.spec
        self.metadata = metadata
        self.batch_size = batch_size
        self._detector = detector
        model = create_model(metadata.spec.num_classes, **metadata.model)
        self._variables = prepare_variables(model, variables)
        options = {
            "preprocessing": metadata.preprocessing,
            "augmentation": augmentation,
            "flip_table": metadata.spec.flip_table() if augmentation.flip else None,
        }

        def probabilities(variables: Variables, images: Array) -> jax.Array:
            logits = parse_logits(model, variables, images, **options)
            return jax.nn.softmax(logits.astype(jnp.float32))

        self._probabilities = jax.jit(probabilities)
        self._labels = jax.jit(partial(parse_labels, model, **options))

    @classmethod
    def load(cls, path: str | os.PathLike, weights: str | None = None, **options: Any) -> "FaceParser":
        """A parser from a workdir (its best checkpoint) or from the folder of one checkpoint.

        Args:
          path: the folder.
          weights: the "student"'s or the "teacher"'s; None takes the teacher's where there is one.
          **options: `batch_size`, `detector` and `augmentation`.

        Raises:
          UserError: there is no checkpoint, or it cannot be read.
        """
        return cls(*checkpoints.load(path, weights), **options)

    def __call__(
        self, images: Picture | Sequence[Picture], boxes: Boxes | Sequence[Boxes] | None = None
    ) -> list[ParsedFace]:
        """Parses one picture or several of any sizes.

        Args:
          images: a path, an [H, W, 3] uint8 RGB array, a Pillow picture, a [B, H, W, 3] array, or a list of them.
          boxes: the faces' (left, top, right, bottom) in pixels, from chin to forehead, instead of a detector's: [N, 4]
            for one picture, a list of such for several.

        Returns:
          A list of one `ParsedFace` a picture, in order. Where several faces are in a picture, its labels show them
          all, larger ones over smaller ones.

        Raises:
          UserError: a picture cannot be read, or boxes make no sense.
        """
        single = is_one(images)
        pictures = [as_array(image) for image in ([images] if single else images)]
        given = _check_boxes([boxes] if single else boxes, len(pictures)) if boxes is not None else None
        places = [self._places(picture, given[i] if given else None) for i, picture in enumerate(pictures)]
        shown = ((picture, matrix) for picture, here in zip(pictures, places, strict=True) for _, matrix in here)
        found = self._run(self._labels, shown, sum(map(len, places)))
        faces = []
        for picture, here in zip(pictures, places, strict=True):
            crops = tuple(FaceCrop(face, matrix, next(found)) for face, matrix in here)
            faces.append(self._assemble(picture, crops))
        return faces

    def _places(self, picture: np.ndarray, boxes: Boxes | None) -> list[tuple[Detection | None, np.ndarray]]:
        """The faces of a picture and the matrices of their crops, the largest face last."""
        size = self.metadata.size
        if boxes is None and self._detector is None:
            return [(None, whole_image_matrix(picture.shape[1], picture.shape[0], size))]
        faces = [Detection(tuple(map(float, box))) for box in boxes] if boxes is not None else self._detector(picture)
        faces = [(face, face_matrix(face, size)) for face in faces]
        return sorted(faces, key=lambda pair: -abs(np.linalg.det(pair[1][:, :2])))

    def _run(self, function: Callable, shown: Iterable[tuple[np.ndarray, np.ndarray]], count: int):
        """Yields what the network says of each (picture, matrix); the shapes it sees are of two kinds at most."""
        batch_size = 1 if count == 1 else self.batch_size
        shown = iter(shown)
        for start in range(0, count, batch_size):
            filled = min(batch_size, count - start)
            batch = np.zeros((batch_size, *self.metadata.size, 3), np.uint8)
            for row in range(filled):
                batch[row] = take_crop(*next(shown), self.metadata.size)
            yield from np.asarray(function(self._variables, batch))[:filled]

    def _assemble(self, picture: np.ndarray, crops: tuple[FaceCrop, ...]) -> ParsedFace:
        """Lays the crops' labels back onto the picture."""
        size = picture.shape[1], picture.shape[0]
        if len(crops) == 1:
            labels = restore_crop(crops[0].labels, crops[0].matrix, *size)
        else:
            labels = np.zeros(picture.shape[:2], np.uint8)
            for crop in crops:
                restored = restore_crop(crop.labels, crop.matrix, *size)
                np.copyto(labels, restored, where=restored != 0)
        return ParsedFace(picture, labels, self.spec, crops, lambda: self._picture_probabilities(picture, crops))

    def _picture_probabilities(self, picture: np.ndarray, crops: tuple[FaceCrop, ...]) -> np.ndarray:
        """[H, W, C] float32; where crops overlap, the one whose label is shown has its say."""
        size = picture.shape[1], picture.shape[0]
        result = np.zeros((*picture.shape[:2], self.spec.num_classes), np.float32)
        result[..., 0] = 1
        labels = np.zeros(picture.shape[:2], np.uint8)
        values = self._run(self._probabilities, ((picture, crop.matrix) for crop in crops), len(crops))
        for crop, probabilities in zip(crops, values, strict=True):
            restored = restore_crop(crop.labels, crop.matrix, *size)
            covered = restore_crop(np.ones(self.metadata.size, np.uint8), crop.matrix, *size) > 0
            here = covered & ((restored != 0) | (labels == 0))
            labels[here] = restored[here]
            for number in range(self.spec.num_classes):
                plane = np.ascontiguousarray(probabilities[..., number])
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                warped = cv2.warpAffine(plane, crop.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
                np.copyto(result[..., number], warped, where=here)
        return result


def _check_boxes(boxes: Any, count: int) -> list[np.ndarray]:
    """A [N, 4] array of boxes for each picture."""
    try:
        arrays = [np.asarray(each, np.float64).reshape(-1, 4) for each in boxes]
    except (TypeError, ValueError) as error:
        raise UserError("boxes must be rows of (left, top, right, bottom), one list of rows a picture") from error
    if len(arrays) != count:
        raise UserError(f"boxes are given for {len(arrays)} pictures, not for {count}; give a list for each")
    return arrays
