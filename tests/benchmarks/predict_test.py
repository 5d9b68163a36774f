"""benchmarks.predict times the same work on both sides."""

import pytest

from benchmarks import predict
from dmlcsr_jax.inference import FaceParser, photos
from tests.shipped import write_exported


def test_both_sides_write_the_same_and_every_stage_is_timed(tmp_path):
    write_exported(tmp_path / "exported")
    parser = FaceParser.load(tmp_path / "exported", faces="whole")
    files = predict.write_photos(tmp_path / "photos", 64, 5)
    before = photos._decode, photos._parse, photos._write
    written = []
    for name, run in (("loop", predict.run_loop), ("ours", predict.run_predict)):
        times = run(parser, files, tmp_path / name)
        assert times.total > 0 and all(times.stages[stage] > 0 for stage in predict.STAGES)
        written.append({path.name for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1] and len(written[0]) == 10
    assert (photos._decode, photos._parse, photos._write) == before


def test_a_row_has_rates_and_shares():
    loop = [predict.Times(total, dict(zip(predict.STAGES, (1.0, 2.0, 1.0), strict=True))) for total in (4.0, 4.0, 8.0)]
    ours = [predict.Times(2.0, dict(zip(predict.STAGES, (1.0, 1.5, 1.0), strict=True)))]
    assert predict.result_row(512, 8, loop, ours) == ["512²", "2", "4", "2.00", "19%", "38%", "19%", "1.75"]


@pytest.mark.parametrize("flag", ["--workdir=no/such"])
def test_mistakes_are_one_line(flag, capsys, monkeypatch):
    monkeypatch.setattr(predict.side_by_side, "set_environment", lambda: None)
    with pytest.raises(SystemExit):
        predict.main([flag])
    text = capsys.readouterr().err
    assert "no/such" in text and text.count("\n") == 1
