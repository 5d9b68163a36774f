"""Label maps mean what they show: colors, palettes, lossy formats, EXIF and odd names in a user's folder."""

import functools
import io
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings
from dmlcsr_jax.datasets.images import decode_image, decode_label, encode_image, encode_label
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.errors import UserError

NAMES = ("background", "skin", "left eye", "hair")
COLORS = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (255, 255, 255)], np.uint8)
LIST = "background 0 0 0\nskin 128 0 0\nleft eye 0 128 0\nhair 255 255 255\n"
IMAGE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
LABELS = np.repeat(np.arange(4, dtype=np.uint8), 48).reshape(12, 16)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_palette(indices: np.ndarray, colors: np.ndarray) -> bytes:
    image = Image.fromarray(indices, "P")
    missing = max(int(indices.max()) + 1 - len(colors), 0)
    image.putpalette(np.pad(colors, ((0, missing), (0, 0))).tobytes())
    return encoded(image)


@pytest.fixture
def root(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "faces/train" / kind).mkdir(parents=True)
    return tmp_path / "faces"


@pytest.fixture
def prepare(root, tmp_path):
    return functools.partial(_prepare, root, tmp_path / "prepared")


def _prepare(root: pathlib.Path, data_dir: pathlib.Path, *labels: bytes, exif: str = "", **lists: str):
    """Prepares a folder with these label maps and lists of classes."""
    for number, data in enumerate(labels):
        image = root / "train/images" / f"{number}.jpg"
        if not image.exists():
            image.write_bytes(encode_image(IMAGE))
        (root / "train/labels" / f"{number}.png").write_bytes(data)
    for name, text in (lists or {"label_names": "\n".join(NAMES)}).items():
        (root / f"{name}.txt").write_text(text)
    return datasets.prepare(DatasetSettings("folder", path=str(root), data_dir=str(data_dir), exif=exif))


def labels_of(dataset: Dataset) -> list[np.ndarray]:
    source = dataset.source("train")
    return [decode_label(source[index]["label"]) for index in range(len(source))]


def assert_all(dataset: Dataset, expected: np.ndarray) -> None:
    for labels in labels_of(dataset):
        np.testing.assert_array_equal(labels, expected)


def test_color_masks_in_any_form(prepare):
    order = np.array([2, 0, 3, 1])
    indices = np.argsort(order)[LABELS].astype(np.uint8)
    transparent = np.dstack([COLORS[LABELS], np.where(LABELS == 0, 0, 255).astype(np.uint8)])
    transparent[LABELS == 0] = (9, 9, 9, 0)
    masks = (
        encoded(Image.fromarray(COLORS[LABELS])),
        with_palette(LABELS, COLORS),
        with_palette(indices, COLORS[order]),
        encoded(Image.fromarray(transparent)),
        encoded(Image.fromarray(COLORS[LABELS]), "WEBP", lossless=True),
        encode_label(LABELS),
    )
    dataset = prepare(*masks, label_colors=LIST)
    assert_all(dataset, LABELS)
    assert dataset.spec.class_names == NAMES
    assert dataset.spec.palette == tuple(map(tuple, COLORS.tolist()))
    assert dataset.summary.notes == ("classes: label_colors.txt",)


def test_gray_values_are_colors_if_all_of_them_are_listed(prepare):
    mask = np.where(LABELS == 3, 255, 0).astype(np.uint8)
    assert_all(prepare(encode_label(mask), label_colors=LIST), np.where(LABELS == 3, 3, 0))


def test_label_names_give_the_numbers_of_colors(prepare):
    names = ("background", "hair", "skin", "left eye")
    dataset = prepare(encoded(Image.fromarray(COLORS[LABELS])), label_names="\n".join(names), label_colors=LIST)
    assert_all(dataset, np.array([0, 2, 3, 1])[LABELS])
    assert dataset.spec.class_names == names
    assert dataset.spec.palette[1] == (255, 255, 255)


@pytest.mark.parametrize("color", [(1, 2, 3), (128, 0, 1)])
def test_a_color_in_no_line_is_named_with_its_place(prepare, color):
    mask = COLORS[LABELS]
    mask[5, 7] = color
    message = (
        rf"0\.png has the color #{bytes(color).hex()} \({color[0]} {color[1]} {color[2]}\) at x=7, y=5, .*colors.txt;"
    )
    with pytest.raises(UserError, match=message):
        prepare(encoded(Image.fromarray(mask)), label_colors=LIST)


def test_partly_transparent_masks_are_refused(prepare):
    mask = np.dstack([COLORS[LABELS], np.full((12, 16), 255, np.uint8)])
    mask[3, 2, 3] = 100
    with pytest.raises(UserError, match=r"0\.png is partly transparent at x=2, y=3"):
        prepare(encoded(Image.fromarray(mask)), label_colors=LIST)


def test_cvat(prepare):
    text = "# label:color_rgb:parts:actions\nskin:128,0,0::\nbackground:0,0,0::\n"
    text += "left eye:0,128,0:a,b:c\nhair:255,255,255::\n"
    dataset = prepare(encoded(Image.fromarray(COLORS[LABELS])), labelmap=text)
    assert dataset.spec.class_names == NAMES
    assert_all(dataset, LABELS)
    with pytest.raises(UserError, match="color #010101"):  # numbers would not follow the lines
        prepare(encode_label(LABELS), labelmap=text)


@pytest.mark.parametrize("first", ["", "__ignore__\n"])
def test_labelme(prepare, first):
    labels = LABELS.copy()
    labels[0, 0] = 255
    dataset = prepare(with_palette(labels, COLORS), class_names=first + "_background_\nskin\nleft eye\nhair\n")
    assert dataset.spec.class_names == ("_background_", "skin", "left eye", "hair")
    assert_all(dataset, labels)


def test_an_ignored_color(prepare):
    mask = COLORS[LABELS]
    mask[0, :4] = (224, 224, 192)
    expected = LABELS.copy()
    expected[0, :4] = 255
    assert_all(prepare(encoded(Image.fromarray(mask)), label_colors="__ignore__ #E0E0C0\n" + LIST), expected)


def test_the_first_list_is_read_and_the_others_are_named(prepare):
    dataset = prepare(encode_label(LABELS), label_names="\n".join(NAMES), class_names="a\nb\n", labelmap="a:1,2,3::\n")
    assert dataset.spec.class_names == NAMES
    assert dataset.summary.notes == ("classes: label_names.txt; not read: labelmap.txt, class_names.txt",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background 0 0 0\nskin\n", r"line 2 is 'skin'; write a name and a color"),
        ("background 0 0 0\nskin 0 0 256\n", r"line 2 is .*0 to 255"),
        ("background 0 0 0\nskin 1,2,3,4\n", r"line 2 is .*; write"),
        ("background 0 0 0\n\nskin 0 0 0\n", r"line 3 repeats the color #000000"),
        ("background 0 0 0\nbackground 0 0 1\n", r"line 2 repeats 'background'"),
        ("# nothing\n", r"names 0 classes; name 2 to 255"),
    ],
)
def test_mistakes_in_a_list_of_colors(prepare, text, message):
    with pytest.raises(UserError, match=rf"label_colors\.txt:? {message}"):
        prepare(encode_label(LABELS), label_colors=text)


def test_names_and_colors_must_agree(prepare):
    with pytest.raises(UserError, match=r"label_colors\.txt has no line for 'hat' of label_names\.txt"):
        prepare(encode_label(LABELS), label_names="background\nhat\n", label_colors=LIST)
    with pytest.raises(UserError, match=r"label_colors\.txt names 'left eye', not in label_names\.txt"):
        prepare(encode_label(LABELS), label_names="background\nskin\nhair\n", label_colors=LIST)


def test_palettes_that_disagree_about_a_used_index_name_two_files(prepare):
    other = COLORS[[0, 2, 1, 3]]
    with pytest.raises(
        UserError, match=r"0\.png and .*1\.png disagree: index 1 is #800000 .* #008000 .*label_colors\.txt"
    ):
        prepare(with_palette(LABELS, COLORS), with_palette(LABELS, other))


def test_palettes_may_differ_in_unused_and_ignored_indices(prepare):
    few = np.where(LABELS == 3, 255, LABELS // 3).astype(np.uint8)
    dataset = prepare(with_palette(LABELS, COLORS), with_palette(few, COLORS[[0, 1, 3, 2]]), encode_label(LABELS))
    np.testing.assert_array_equal(labels_of(dataset)[1], few)


def test_palettes_are_compared_when_preparation_resumes(root, prepare, tmp_path, monkeypatch):
    """The colors of finished parts are in their tallies."""
    from dmlcsr_jax.datasets import preparing

    monkeypatch.setattr(preparing, "EXAMPLES_PER_PART", 1)
    masks = (with_palette(LABELS, COLORS), with_palette(LABELS, COLORS[[0, 2, 1, 3]]))
    written = []
    write = preparing.write_text
    monkeypatch.setattr(preparing, "write_text", lambda path, text: (written.append(text), write(path, text))[1])
    with pytest.raises(UserError, match="disagree"):
        prepare(*masks)
    assert len(written) == 2
    assert json.loads(written[0])["palettes"]["1"] == {"#800000": str(root / "train/labels/0.png")}


def test_a_palette_made_of_gray_values_stands_for_them(prepare):
    """As oxipng and others write a gray image of few values."""
    values = np.array([0, 2, 3, 255], np.uint8)
    gray = np.repeat(values[:, None], 3, axis=1)
    assert_all(prepare(with_palette(LABELS, gray)), values[LABELS])


def test_gray_palettes_for_display_are_indices(prepare):
    for values in ([0, 80, 160, 240], [0, 255, 0, 0], [0, 0, 0, 0]):
        gray = np.repeat(np.array(values, np.uint8)[:, None], 3, axis=1)
        assert_all(prepare(with_palette(LABELS, gray)), LABELS)


@pytest.mark.parametrize(
    ("form", "kind"), [("JPEG", "JPEG"), ("WEBP", "lossy WebP"), ("AVIF", "AVIF"), ("TIFF", "JPEG-")]
)
def test_lossy_label_maps_are_known_by_their_content(prepare, form, kind):
    options = {"compression": "jpeg"} if form == "TIFF" else {}
    with pytest.raises(UserError, match=rf"0\.png is a {kind}.*export the label map again as PNG"):
        prepare(encoded(Image.fromarray(LABELS), form, **options))


def test_a_jpeg_in_place_of_a_label_map_is_named(root, prepare):
    (root / "train/labels/1.jpg").write_bytes(encoded(Image.fromarray(LABELS), "JPEG"))
    (root / "train/images/1.jpg").write_bytes(encode_image(IMAGE))
    with pytest.raises(UserError, match=r"1\.jpg will not do, because JPEG changes class numbers; export it as 1\.png"):
        prepare(encode_label(LABELS))


def turned(orientation: int, image: np.ndarray = IMAGE) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    return encoded(Image.fromarray(image), "PNG", exif=exif)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_images_turned_by_exif_beside_label_maps_of_the_same_size(root, prepare, orientation):
    (root / "train/images/0.png").write_bytes(turned(orientation))
    (root / "train/images/0.jpg").unlink(missing_ok=True)
    (root / "train/labels/0.png").write_bytes(encode_label(LABELS))
    expected = {2: IMAGE[:, ::-1], 3: IMAGE[::-1, ::-1], 4: IMAGE[::-1]}[orientation]
    for exif, image, count in (("", expected, 1), ("apply", expected, 0), ("ignore", IMAGE, 0)):
        dataset = prepare(exif=exif)
        np.testing.assert_array_equal(decode_image(dataset.source("train")[0]["image"]), image)
        warnings = dataset.summary.file_warnings()
        assert len(warnings) == count
        assert all(
            "1 file are turned" not in line and "0.png" in line and "config.dataset.exif" in line for line in warnings
        )


def test_square_images_turned_by_exif_are_warned_about_too(root, prepare):
    (root / "train/images/0.png").write_bytes(turned(6, IMAGE[:, :12]))
    (root / "train/labels/0.png").write_bytes(encode_label(LABELS[:, :12]))
    assert len(prepare().summary.file_warnings()) == 1


def test_sizes_after_exif(root, prepare):
    (root / "train/images/0.png").write_bytes(turned(6))
    (root / "train/labels/0.png").write_bytes(encode_label(LABELS))
    with pytest.raises(UserError, match=r"16x12 but 0\.png is 12x16 \(after its EXIF orientation\);.*exif=ignore"):
        prepare()
    np.testing.assert_array_equal(decode_image(prepare(exif="ignore").source("train")[0]["image"]), IMAGE)


def test_label_maps_with_an_orientation_of_their_own(root, prepare):
    (root / "train/images/0.png").write_bytes(turned(6))
    (root / "train/labels/0.png").write_bytes(turned(6, LABELS))
    dataset = prepare()
    np.testing.assert_array_equal(labels_of(dataset)[0], np.rot90(LABELS, -1))
    assert not dataset.summary.file_warnings()


def test_interpolated_label_maps_are_warned_about(root, prepare):
    y, x = np.mgrid[:200, :200]
    crisp = np.where((y - 100) ** 2 + (x - 100) ** 2 < 6000, 3, 0).astype(np.uint8)
    smooth = np.array(Image.fromarray(crisp).resize((150, 150), Image.Resampling.BOX))
    for number, labels in enumerate((crisp, smooth)):
        (root / f"train/images/{number}.jpg").write_bytes(encode_image(np.zeros((*labels.shape, 3), np.uint8)))
    (line,) = prepare(encode_label(crisp), encode_label(smooth)).summary.file_warnings()
    assert line.startswith("label maps look resized with smoothing") and line.endswith("labels/1.png")


def test_names_that_are_not_utf8(root, prepare):
    name = os.fsdecode(b"caf\xe9")
    try:
        (root / f"train/images/{name}.png").write_bytes(encode_image(IMAGE))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (root / f"train/labels/{name}.png").write_bytes(with_palette(LABELS, COLORS))
    assert prepare().source("train")[0]["name"] == "caf\\xe9"
    with pytest.raises(UserError, match="disagree"):
        prepare(with_palette(LABELS, COLORS[::-1]))


def test_a_folder_for_prepared_data_must_be_utf8():
    with pytest.raises(UserError, match=r"config\.dataset\.data_dir is caf\\xe9; name a folder"):
        DatasetSettings("folder", data_dir=os.fsdecode(b"caf\xe9"))
