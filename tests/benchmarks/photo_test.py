"""benchmarks.photo times the real stages of a parser."""

import pytest

from benchmarks import photo
from dmlcsr_jax.datasets.faces import draw_face
from tests.shipped import write_exported


def test_every_stage_is_timed_and_the_parser_is_left_as_it_was(tmp_path):
    write_exported(tmp_path / "exported")
    before = photo.module.take_crop, photo.module.restore_crop
    times = photo.measure(str(tmp_path / "exported"), "whole", draw_face(0, 64)[0], repeats=3)
    assert set(times.stages) == set(photo.STAGES)
    assert all(seconds > 0 for seconds in times.stages.values())
    assert times.first > 0 and times.later > 0 and times.parsed == 1
    assert (photo.module.take_crop, photo.module.restore_crop) == before


def test_rows_are_in_milliseconds_and_the_rest_is_what_no_stage_took():
    stages = {"crops": 0.001, "network": 0.03, "labels back": 0.002}
    table = photo.result_table({"whole": photo.Times(0.5, 4.0, 0.04, stages, 1)}, "title")
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["whole", "0.5", "4.0", "40.0", "1.0", "30.0", "2.0", "7.0", "1"]


@pytest.mark.parametrize("flag", ["--photo=no/such.jpg", "--workdir=no/such"])
def test_mistakes_are_one_line(flag, capsys, monkeypatch):
    monkeypatch.setattr(photo.side_by_side, "set_environment", lambda: None)
    with pytest.raises(SystemExit):
        photo.main([flag, "--size=64"])
    text = capsys.readouterr().err
    assert "no/such" in text and text.count("\n") == 1
