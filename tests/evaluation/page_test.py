"""The page of best and worst cases: the right images, in order, in one file."""

import base64
import html.parser

import numpy as np

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.evaluation.page import Extremes, write_page

SPEC = get_spec("lapa")
LABEL = np.zeros((24, 24), np.uint8)
LABEL[4:20, 4:20] = SPEC.class_id("skin")


def prediction(wrong):
    """Takes the first `wrong` rows of the skin for hair."""
    found = LABEL.copy()
    found[4 : 4 + wrong, 4:20] = SPEC.class_id("hair")
    return found


def extremes_of(count, errors):
    extremes = Extremes(SPEC, count)
    for index, wrong in enumerate(errors):
        found = prediction(wrong)
        extremes(index, found, confusion_matrix(LABEL, found, SPEC.num_classes))
    return extremes


def test_best_and_worst_in_order():
    extremes = extremes_of(3, [5, 0, 9, 2, 7, 1, 12])
    assert [case.index for case in extremes.best()] == [1, 5, 3]
    assert [case.index for case in extremes.worst()] == [6, 2, 4]
    assert extremes.best()[0].score == 1
    few = extremes_of(8, [3, 3])
    assert [case.index for case in few.best()] == [0, 1] == [case.index for case in few.worst()]


def test_images_of_nothing_but_background_are_skipped():
    extremes = Extremes(SPEC)
    empty = np.zeros((8, 8), np.uint8)
    extremes(0, empty, confusion_matrix(empty, empty, SPEC.num_classes))
    assert extremes.best() == [] == extremes.worst()


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.images += [attrs["src"]] if tag == "img" else []
        self.links += [value for name, value in attrs.items() if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data.strip())


def test_the_page_holds_everything(tmp_path):
    extremes = extremes_of(2, [5, 0, 9])
    total = sum(confusion_matrix(LABEL, prediction(wrong), SPEC.num_classes) for wrong in (5, 0, 9))

    def example(index):
        return f"<{index}>", np.full((24, 24, 3), 90, np.uint8), LABEL

    result = scores(total, SPEC)
    path = tmp_path / "page.html"
    write_page(path, title="runs/x, val", result=result, extremes=extremes, example=example)
    page = Page()
    page.feed(path.read_text())
    assert len(page.images) == 4 * 4 and all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    image, label, predicted, errors = (decode_image(base64.b64decode(url.partition(",")[2])) for url in page.images[:4])
    assert image.shape == (256, 256, 3) and np.abs(image.astype(int) - 90).max() <= 2
    skin, hair = (0.7 * np.array(SPEC.palette[SPEC.class_id(name)]) + 0.3 * 90 for name in ("skin", "hair"))
    for column, top, bottom in ((label, skin, skin), (predicted, hair, skin), (errors, (255, 40, 40), (45, 45, 45))):
        # rows 4..12 of 24 are wrong in the worst case
        assert np.abs(column[90, 128] - top).max() <= 6 and np.abs(column[190, 128] - bottom).max() <= 6
    captions = [text for text in page.text if "mean F1" in text]
    assert [caption.partition(",")[0] for caption in captions] == ["<2>", "<0>", "<1>", "<0>"]
    assert "100.0" in captions[2] and "skin" in page.text and "hair" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
