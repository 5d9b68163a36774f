"""The face parser: images in, face parts out."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

import cv2
import numpy as np

from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import check_choice, check_range
from dmlcsr_jax.inference.detector import CenterFace, Detection, Detector, take_crop
from dmlcsr_jax.inference.engines.base import Engine
from dmlcsr_jax.inference.engines.choosing import create_engine
from dmlcsr_jax.inference.engines.sources import Source, find_source, variables_content
from dmlcsr_jax.inference.face import FaceCrop, ParsedFace
from dmlcsr_jax.inference.finding import face_classes, is_framed
from dmlcsr_jax.inference.images import ImageLike, as_arrays
from dmlcsr_jax.inference.searching import Place, own_places, search_faces, whole_place
from dmlcsr_jax.models import TestTimeAugmentation
from dmlcsr_jax.pipeline.geometry import restore_crop
from dmlcsr_jax.types import EngineName, Faces, Precision, Variables

Boxes = Sequence[Sequence[float]] | np.ndarray  # [N, 4]: (left, top, right, bottom) of each face, in pixels


class FaceParser:
    """Finds the parts of faces in images.

    parser = FaceParser.load("runs/quickstart")
    (face,) = parser("photo.jpg")
    face.mask("hair")

    `faces` says where the faces are, unless boxes are given:

    - "whole": the whole image is the face, as in the data sets. It is scaled into the network's input with its aspect
      ratio kept, and the labels are resized back.
    - "detect": the detector finds the faces. Each is parsed in a crop of its own, rotated upright.
    - "auto": the detector finds the faces if one is installed. Otherwise the network finds them itself: it parses the
      whole image, and parts of it if no face is larger than a third of it. A face that fills the image, as in the data
      sets, is then done; every other one is parsed again in a crop of its own. Classes without skin, eyes, nose or
      mouth make no face, and "auto" is then "whole".

    The network is compiled at most twice, for one image and for `batch_size` images, whatever the sizes of the images.
    The same images always give the same labels.

    `engine` says what runs the network; labels differ on less than 0.01 % of the pixels in float32:

    - "jax": variables and `model.stablehlo`.
    - "onnxruntime", "openvino": `model.onnx`, which needs no JAX, and variables, which are converted once.
    - "auto": JAX if it finds an accelerator, else the fastest that is installed. They are timed once for each kind of
      network, size and processor; the choice is printed and kept.

    Args:
      variables: `params` and `batch_stats`; those of the edge heads may be absent. None if `engine` is an object.
      metadata: classes, network, input size and preprocessing.
      batch_size: images per call of the network, which all devices of this host share.
      faces: "auto", "whole" or "detect", see above; None for "detect" if there is a detector, else "whole".
      detector: finds the faces of an image; None for `CenterFace()` if one is needed.
      augmentation: views whose logits are averaged, such as `TestTimeAugmentation(flip=True)`.
      engine: a name, see above, or an `Engine`, which then must do what `augmentation` and `precision` would.
      precision: "float32" or "bfloat16", what the network computes in. bfloat16 is for OpenVINO on a processor with AMX
        or AVX512-BF16, and for JAX on an accelerator; labels differ on less than 0.5 % of the pixels.

    Raises:
      FieldError: `faces`, `engine` or `precision` is none of these, or `batch_size` is less than 1.
      UserError: `faces` is "detect" and no detector is installed; or the engine is not installed, or cannot run the
        network so.
    """

    def __init__(
        self,
        variables: Variables | None,
        metadata: CheckpointMetadata,
        *,
        batch_size: int = 4,
        faces: Faces | None = None,
        detector: Detector | None = None,
        augmentation: TestTimeAugmentation = TestTimeAugmentation(),
        engine: EngineName | Engine = "jax",
        precision: Precision = "float32",
    ):
        self.spec = metadata.spec
        self.metadata = metadata
        check_range("batch_size", batch_size, at_least=1)
        self.batch_size = int(batch_size)
        faces = faces or ("detect" if detector else "whole")
        check_choice("faces", faces, get_args(Faces))
        self._detector = detector if faces != "whole" else None
        self._keeps_framed = faces == "auto"
        self._classes = None
        if detector is None and faces == "detect":
            self._detector = CenterFace()
        elif detector is None and faces == "auto":
            with contextlib.suppress(UserError):
                self._detector = CenterFace()
            if self._detector is None:
                self._classes = face_classes(metadata.spec)
        if isinstance(engine, str):
            assert variables is not None, "an engine by its name needs variables"
            given: Variables = variables
            source = Source("the network", metadata, lambda: given, lambda: variables_content(given, metadata))
            engine = create_engine(source, engine, precision=precision, augmentation=augmentation)
        self._engine = engine

    @property
    def engine(self) -> str:
        """What runs the network: "jax", "onnxruntime" or "openvino"."""
        return self._engine.name

    @property
    def precision(self) -> str:
        """What it computes in: "float32" or "bfloat16"."""
        return self._engine.precision

    @classmethod
    def load(
        cls,
        path: str | os.PathLike = "portrait",
        weights: str | None = None,
        *,
        engine: EngineName = "auto",
        precision: Precision = "float32",
        augmentation: TestTimeAugmentation = TestTimeAugmentation(),
        **options: Any,
    ) -> "FaceParser":
        """Loads a parser: by default the network that ships with the package, which is for photos of real faces.

        Args:
          path: a workdir (its best checkpoint is taken), the folder of one checkpoint, an exported folder, an exported
            `model.onnx` or `model.stablehlo` with its model card beside it, or the name of weights that ship with the
            package. A folder of that name with a checkpoint in it comes first. Local or in gs://.
          weights: "student" or "teacher"; None for the teacher if there is one.
          engine: what runs the network, see the class.
          precision: what it computes in.
          augmentation: views whose logits are averaged; `model.onnx` and `model.stablehlo` have one scale.
          **options: `batch_size`, `faces` and `detector`; without a detector, `faces` is "auto" for weights that ship
            with the package, since photos are not crops of faces.

        Raises:
          UserError: there is no checkpoint, or it cannot be read; and as for the class.
        """
        source = find_source(path, weights)
        if not (options.get("faces") or options.get("detector")) and source.shipped:
            options["faces"] = "auto"
        made = create_engine(source, engine, precision=precision, augmentation=augmentation)
        return cls(None, source.metadata, engine=made, **options)

    def __call__(
        self, images: ImageLike | Sequence[ImageLike], boxes: Boxes | Sequence[Boxes] | None = None
    ) -> list[ParsedFace]:
        """Parses one or more images of any sizes.

        Args:
          images: a path, an [H, W, 3] uint8 RGB array, a Pillow image, a [B, H, W, 3] array, or a list of these.
          boxes: the faces, in place of a detector: (left, top, right, bottom) in pixels, from chin to forehead. [N, 4]
            for one image, a list of such arrays for several.

        Returns:
          One `ParsedFace` per image, in order. If an image has several faces, its labels show all of them, larger ones
          over smaller ones.

        Raises:
          UserError: an image cannot be read, or boxes are invalid.
        """
        arrays, single = as_arrays(images)
        given = _check_boxes([boxes] if single else boxes, len(arrays)) if boxes is not None else [None] * len(arrays)
        if boxes is None and self._classes:
            crops = search_faces(arrays, self._parse_places, self._classes, self.metadata.size)
        else:
            places = [self._find_places(image, own) for image, own in zip(arrays, given, strict=True)]
            crops = self._parse_places(arrays, places)
        return [self._assemble(image, own) for image, own in zip(arrays, crops, strict=True)]

    def _find_places(self, image: np.ndarray, boxes: np.ndarray | None) -> list[Place]:
        """The faces of an image and the matrices of their crops, the largest face last."""
        if boxes is not None:
            height, width, _ = image.shape
            for left, top, right, bottom in boxes.tolist():
                if left >= width or top >= height or right <= 0 or bottom <= 0:
                    box = f"{left:g}, {top:g}, {right:g}, {bottom:g}"
                    raise UserError(f"the box ({box}) lies outside of the image, which is {width} x {height} pixels")
            faces = [Detection((left, top, right, bottom)) for left, top, right, bottom in boxes.tolist()]
        elif self._detector is not None:
            faces = self._detector(image)
            whole = whole_place(image, self.metadata.size)
            if self._keeps_framed and len(faces) == 1 and is_framed(faces[0], whole[1], self.metadata.size):
                return [(faces[0], whole[1])]
        else:
            return [whole_place(image, self.metadata.size)]
        return own_places(faces, self.metadata.size)

    def _parse_places(
        self, images: Sequence[np.ndarray], places: Sequence[Sequence[Place]]
    ) -> list[tuple[FaceCrop, ...]]:
        """Parses the crops of each image."""
        crops = [(image, matrix) for image, own in zip(images, places, strict=True) for _, matrix in own]
        labels = self._run(self._engine.labels, crops)
        return [tuple(FaceCrop(face, matrix, next(labels)) for face, matrix in own) for own in places]

    def _run(
        self, network: Callable[[np.ndarray], np.ndarray], crops: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> Iterator[np.ndarray]:
        """Yields the output of the network for each (image, matrix); its batches have one of two sizes."""
        batch_size = 1 if len(crops) == 1 else self.batch_size
        for start in range(0, len(crops), batch_size):
            chunk = crops[start : start + batch_size]
            batch = np.zeros((batch_size, *self.metadata.size, 3), np.uint8)
            for row, (image, matrix) in enumerate(chunk):
                batch[row] = take_crop(image, matrix, self.metadata.size)
            yield from network(batch)[: len(chunk)]

    def _assemble(self, image: np.ndarray, crops: tuple[FaceCrop, ...]) -> ParsedFace:
        """Maps the labels of the crops back to the image."""
        height, width, _ = image.shape
        if len(crops) == 1:
            labels = restore_crop(crops[0].labels, crops[0].matrix, width, height)
        else:
            labels = np.zeros((height, width), np.uint8)
            for crop in crops:
                restored = restore_crop(crop.labels, crop.matrix, width, height)
                np.copyto(labels, restored, where=restored != 0)
        return ParsedFace(image, labels, self.spec, crops, partial(self._sum_probabilities, image, crops))

    def _sum_probabilities(self, image: np.ndarray, crops: tuple[FaceCrop, ...], weights: np.ndarray) -> np.ndarray:
        """[H, W, K] float32 probabilities, weighted by [C, K].

        Where crops overlap, the values are from the crop whose label is shown; outside all of them is background.
        """
        height, width, _ = image.shape
        result = np.empty((height, width, weights.shape[1]), np.float32)
        result[:] = weights[0]
        labels = np.zeros((height, width), np.uint8)
        values = self._run(self._engine.probabilities, [(image, crop.matrix) for crop in crops])
        for crop, probabilities in zip(crops, values, strict=True):
            restored = restore_crop(crop.labels, crop.matrix, width, height)
            covered = restore_crop(np.ones(self.metadata.size, np.uint8), crop.matrix, width, height) > 0
            chosen = covered & ((restored != 0) | (labels == 0))
            labels[chosen] = restored[chosen]
            sums = probabilities @ weights
            for plane in range(weights.shape[1]):
                np.copyto(
                    result[..., plane], _restore_plane(sums[..., plane], crop.matrix, (width, height)), where=chosen
                )
        return result


def _restore_plane(plane: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[h, w] float32 of an input, brought back to the image of `size` (width, height), bilinear."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(plane), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _check_boxes(boxes: Iterable[Any], count: int) -> list[np.ndarray]:
    """The boxes of each image as a [N, 4] float64 array."""
    try:
        arrays = [np.asarray(each, np.float64).reshape(-1, 4) for each in boxes]
    except (TypeError, ValueError) as error:
        raise UserError("boxes must be rows of (left, top, right, bottom), one list of rows per image") from error
    if len(arrays) != count:
        raise UserError(f"boxes are given for {len(arrays)} images, not for {count}; pass one list per image")
    return arrays
