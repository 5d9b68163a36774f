"""CelebAMask-HQ as its archive unpacks: parts merged in order, CelebA's splits, images resized to the labels."""

import functools

import cv2
import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings
from dmlcsr_jax.datasets.celebamask_hq import SPEC, CelebAMaskHQ
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_image, decode_label, encode_jpeg
from dmlcsr_jax.errors import UserError

SIZE = 64  # of the label maps; images are twice as large
# Number in CelebAMask-HQ -> number in CelebA: the first and last of each split according to the thresholds.
FACES = {0: 0, 1: 162_770, 2: 162_771, 1999: 182_637, 2000: 182_638, 2001: 202_598}
ORDER = SPEC.class_names[1:]


@functools.cache
def face(number):
    """A drawn face [2S, 2S, 3] and its labels [S, S]."""
    image, labels = draw_face(number, 2 * SIZE)
    return image, labels[::2, ::2]


def write_part(root, number, part, mask, mode="L"):
    path = root / "CelebAMask-HQ-mask-anno" / str(number // 2000) / f"{number:05d}_{part}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert(mode)
    if mode == "P":  # black and white as the colors 0 and 1 of a palette
        image = Image.fromarray(mask.astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def write_face(root, number, mode="L"):
    image, labels = face(number)
    (root / "CelebA-HQ-img").mkdir(parents=True, exist_ok=True)
    (root / "CelebA-HQ-img" / f"{number}.jpg").write_bytes(encode_jpeg(image, 95))
    for class_number in np.unique(labels):
        if class_number:
            write_part(root, number, SPEC.class_names[class_number], labels == class_number, mode)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "CelebAMask-HQ"
    for number, mode in zip(FACES, ["L", "P", "RGB", "L", "P", "1"], strict=True):
        write_face(root, number, mode)
    lines = ["idx orig_idx orig_file", *(f"{n:<8}{celeba:<9}{celeba + 1:06d}.jpg" for n, celeba in FACES.items())]
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def prepare(root, tmp_path):
    def prepare(bad_files="stop", **options):
        data_dir = str(tmp_path / "prepared")
        settings = DatasetSettings(
            "celebamask_hq", path=str(root), data_dir=data_dir, bad_files=bad_files, options=options
        )
        return datasets.prepare(settings)

    return prepare


def test_labels_splits_and_sizes(prepare):
    dataset = prepare()
    expected = {"train": ["0", "1"], "val": ["2", "1999"], "test": ["2000", "2001"]}
    assert dataset.splits == {"train": 2, "val": 2, "test": 2} and dataset.spec == SPEC
    for split, names in expected.items():
        source = dataset.source(split)
        assert [source[i]["name"] for i in range(2)] == names
        for i, name in enumerate(names):
            image, labels = face(int(name))
            np.testing.assert_array_equal(decode_label(source[i]["label"]), labels)
            decoded = decode_image(source[i]["image"])
            assert decoded.shape == (SIZE, SIZE, 3)
            smaller = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            assert np.abs(decoded.astype(int) - smaller).mean() < 6  # JPEG, twice
    assert "24,183" in "\n".join(dataset.summary.differences())
    assert "thresholds" in dataset.summary.notes[0]


def test_left_is_the_subjects_left(prepare):
    labels = decode_label(prepare().source("train")[0]["label"])
    columns = {name: np.nonzero(labels == SPEC.class_id(name))[1].mean() for name in ("l_eye", "r_eye", "nose")}
    assert columns["r_eye"] < columns["nose"] < columns["l_eye"]


def test_partition_file_overrides_the_thresholds(root, prepare):
    split = {0: 2, 1: 1, 2: 0, 1999: 0, 2000: 0, 2001: 0}
    lines = [f"{celeba + 1:06d}.jpg {split[number]}" for number, celeba in FACES.items()]
    (root / "list_eval_partition.txt").write_text("\n".join(lines))
    dataset = prepare()
    assert dataset.splits == {"train": 4, "val": 1, "test": 1}
    assert dataset.source("test")[0]["name"] == "0"
    assert "list_eval_partition.txt" in dataset.summary.notes[0]


def test_later_parts_are_painted_over_earlier_ones(root, prepare):
    everywhere = np.ones((SIZE, SIZE), bool)
    left, right = everywhere.copy(), everywhere.copy()
    left[:, SIZE // 2 :] = right[:, : SIZE // 2] = False
    for path in (root / "CelebAMask-HQ-mask-anno" / "0").glob("00000_*"):
        path.unlink()
    for part, mask in (("skin", everywhere), ("neck_l", left), ("cloth", left), ("hair", right), ("eye_g", right)):
        write_part(root, 0, part, mask)
    write_part(root, 0, "nose", np.zeros((SIZE, SIZE), bool))  # an empty part is valid
    half = SIZE // 2
    labels = decode_label(prepare().source("train")[0]["label"])
    assert (labels[:, :half] == SPEC.class_id("cloth")).all() and (labels[:, half:] == SPEC.class_id("hair")).all()
    necklace_last = ",".join([*(part for part in ORDER if part not in ("neck_l", "eye_g")), "eye_g", " neck_l"])
    labels = decode_label(prepare(merge_order=necklace_last).source("train")[0]["label"])
    assert (labels[:, :half] == SPEC.class_id("neck_l")).all() and (labels[:, half:] == SPEC.class_id("eye_g")).all()


def test_merged_label_maps(root, prepare):
    (root / "merged").mkdir()
    for number in FACES:
        name = f"{number:05d}.png" if number else "0.png"
        Image.fromarray(face(number)[1]).save(root / "merged" / name)
    source = prepare(labels="merged").source("val")
    np.testing.assert_array_equal(decode_label(source[1]["label"]), face(1999)[1])


def _break(root, what):
    parts = root / "CelebAMask-HQ-mask-anno" / "0"
    match what:
        case "image":
            path = root / "CelebA-HQ-img" / "2.jpg"
            path.write_bytes(path.read_bytes()[:2000])
        case "no image":
            (root / "CelebA-HQ-img" / "2.jpg").unlink()
        case "part":
            path = parts / "00002_skin.png"
            path.write_bytes(path.read_bytes()[:-30])
        case "no part":
            for path in parts.glob("00002_*"):
                path.unlink()
        case "size":
            write_part(root, 2, "cloth", np.ones((SIZE, SIZE + 1), bool))
        case "shape":
            image = face(2)[0][:, : SIZE + 7]
            (root / "CelebA-HQ-img" / "2.jpg").write_bytes(encode_jpeg(image, 95))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("image", r"CelebA-HQ-img/2.jpg cannot be decoded as an image; replace"),
        ("no image", r"CelebA-HQ-img/2.jpg is missing; add it"),
        ("part", r"0/00002_skin.png cannot be decoded as an image; replace"),
        ("no part", r"0/00002_\*.png: this face has no parts; add"),
        ("size", r"0/00002_cloth.png is 65x64 but other parts of this face are 64x64; replace it"),
        ("shape", r"0/00002 is 64x64 but 2.jpg is 71x128; they must have the same aspect ratio"),
    ],
)
def test_bad_files_stop_or_are_skipped(root, prepare, what, message):
    _break(root, what)
    with pytest.raises(UserError, match=message):
        prepare()
    dataset = prepare(bad_files="skip")
    assert dataset.splits == {"train": 2, "val": 1, "test": 2}
    assert len(dataset.summary.skipped) == 1
    with pytest.raises(UserError, match=message):  # data prepared with skipped files does not count as complete
        prepare()


def _spoil(root, what):
    mapping = root / "CelebA-HQ-to-CelebA-mapping.txt"
    match what:
        case "no mapping":
            mapping.unlink()
        case "mapping":
            mapping.write_text("idx orig_idx orig_file\n0 x 000001.jpg\n")
        case "partition":
            (root / "list_eval_partition.txt").write_text("000001.jpg 3\n")
        case "short partition":
            (root / "list_eval_partition.txt").write_text("000001.jpg 0\n")
        case "no folder":
            (root / "CelebA-HQ-img").rename(root / "images")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no mapping", r"CelebA-HQ-to-CelebA-mapping.txt is missing; it should have"),
        ("mapping", r"mapping.txt: line 2 is '0 x 000001.jpg'; it should be like"),
        ("partition", r"list_eval_partition.txt: line 1 is '000001.jpg 3'; it should be like"),
        ("short partition", r"list_eval_partition.txt lacks 162771.jpg, image 1; use"),
        (
            "no folder",
            r"config.dataset.path: .*CelebA-HQ-img is not a folder; .*should contain CelebA-HQ-img, Celeb",
        ),
    ],
)
def test_invalid_lists_and_folders(root, prepare, what, message):
    _spoil(root, what)
    with pytest.raises(UserError, match=message):
        prepare()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (ORDER[1:], "lacks skin"),
        ((*ORDER, "hair"), "repeats hair"),
        ((*ORDER, "wig"), "has 'wig'; the parts are skin"),
    ],
)
def test_merge_order_names_each_part_once(prepare, order, message):
    with pytest.raises(UserError, match=f"^config.dataset.celebamask_hq.merge_order {message}"):
        prepare(merge_order=",".join(order))


def test_recipe(root, tmp_path):
    from configs import celebamask_hq

    config = celebamask_hq.get_config().dataset
    config.path, config.data_dir = str(root), str(tmp_path / "prepared")
    assert datasets.prepare(DatasetSettings.from_config(config)).splits == {"train": 2, "val": 2, "test": 2}
    assert config.celebamask_hq.merge_order == ",".join(ORDER)


def test_key_is_that_of_data_prepared_before(root):
    assert CelebAMaskHQ(root).key == "CelebAMask-HQ_744ef504788a6cf6"
    (root / "merged").mkdir()
    assert CelebAMaskHQ(root, labels="merged").key == "CelebAMask-HQ_8c1e46863458c799"
