"""The page of best and worst cases: the right pictures, in order, in one file."""

import html.parser

import numpy as np

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.evaluation.page import Extremes, write_page

SPEC = get_spec("lapa")
LABEL = np.zeros((24, 24), np.uint8)
LABEL[4:20, 4:20] = SPEC.class_id("skin")


def prediction(wrong):
    found = LABEL.copy()
    found[4 : 4 + wrong, 4:20] = SPEC.class_id("hair")
    return found


def shown(count, errors):
    extremes = Extremes(SPEC, count)
    for index, wrong in enumerate(errors):
        found = prediction(wrong)
        extremes(index, found, confusion_matrix(LABEL, found, SPEC.num_classes))
    return extremes


def test_best_and_worst_in_order():
    extremes = shown(3, [5, 0, 9, 2, 7, 1, 12])
    assert [case.index for case in extremes.best()] == [1, 5, 3]
    assert [case.index for case in extremes.worst()] == [6, 2, 4]
    assert extremes.best()[0].score == 1
    few = shown(8, [3, 3])
    assert [case.index for case in few.best()] == [0, 1] == [case.index for case in few.worst()]


def test_pictures_of_nothing_but_background_are_passed_over():
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
    extremes = shown(2, [5, 0, 9])
    total = sum(confusion_matrix(LABEL, prediction(wrong), SPEC.num_classes) for wrong in (5, 0, 9))

    def example(index):
        return f"<{index}>", np.full((24, 24, 3), 90, np.uint8), LABEL

    write_page(tmp_path / "page.html", "runs/x, val", scores(total, SPEC), extremes, example, SPEC)
    page = Page()
    page.feed((tmp_path / "page.html").read_text())
    assert len(page.images) == 4 * 4 and all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    captions = [text for text in page.text if "mean F1" in text]
    assert [caption.partition(",")[0] for caption in captions] == ["<2>", "<0>", "<1>", "<0>"]
    assert "100.0" in captions[2] and "skin" in page.text and "hair" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
