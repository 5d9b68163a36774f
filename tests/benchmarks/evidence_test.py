"""Tables from the scores of runs: means, standard errors and paired intervals."""

import numpy as np
import pytest

from benchmarks import evidence, records


def record(arm, seed, student, teacher=()):
    curve = [{"step": 10 * (i + 1), "student": score} for i, score in enumerate(student)]
    for point, score in zip(curve, teacher, strict=False):
        point["teacher"] = score
    return {
        "arm": arm,
        "arm_flags": [],
        "baseline": "without",
        "seed": seed,
        "command": "python -m benchmarks.label_noise",
        "data": "",
        "configuration": {"model.width": 16},
        "commit": "abc",
        "seconds": 1800,
        "curve": curve,
    }


RECORDS = [
    record("without", 0, [0.30, 0.40, 0.38]),
    record("published", 0, [0.30, 0.40, 0.40], [0.35, 0.41, 0.42]),
    record("without", 1, [0.32, 0.42, 0.36]),
    record("published", 1, [0.30, 0.40, 0.42], [0.35, 0.41, 0.38]),
    record("published", 2, [0.30, 0.40, 0.50], [0.35, 0.41, 0.52]),  # without a partner
]


def test_a_table_has_means_and_paired_differences():
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in table_rows(evidence.tables(RECORDS))}
    assert rows["without, student"] == ["2", "37.00 ± 1.00", "", "41.00 ± 1.00", ""]
    # Pairs: +4 and +2 points; t with one degree of freedom is 12.706.
    teacher = records.estimate([4.0, 2.0])
    assert rows["published, teacher"][:3] == ["3", "44.00 ± 4.16", f"{teacher.mean:+.2f} ± {teacher.interval:.2f}"]
    assert rows["published, student"][2] == "+4.00 ± 25.41"


def test_a_table_against_an_arm_compares_the_same_networks():
    more = [record("restart", seed, [0.30, 0.44], [0.35, 0.44]) for seed in (0, 2)]
    text = evidence.tables([*RECORDS, *more], against="published")
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in table_rows(text)}
    teacher, student = (records.estimate(gains) for gains in ([2.0, -8.0], [4.0, -6.0]))
    assert rows["restart, teacher"][2] == f"{teacher.mean:+.2f} ± {teacher.interval:.2f}"
    assert rows["restart, student"][2] == f"{student.mean:+.2f} ± {student.interval:.2f}"
    assert rows["published, teacher"][2] == rows["published, student"][2] == ""


def table_rows(text):
    return [line.split("|") for line in text.splitlines() if line.startswith("| ") and "---" not in line]


def test_the_decline_after_the_peak():
    assert "peaks at 41.00 after step 20 and changes by -4.00 ± 2.00 (standard error) until step 30" in evidence.tables(
        RECORDS
    )


def test_no_decline():
    assert "The mean of without is highest at the last step, 20." in evidence.tables([record("without", 0, [0.3, 0.4])])


def test_flags_in_another_order_do_not_make_another_table():
    other = record("restart", 0, [0.5]) | {"command": "python -m benchmarks.label_noise -- --config.model.width=16"}
    assert evidence.tables([*RECORDS, other]).count("| mean F1 (%) |") == 1


def test_runs_of_another_configuration_have_their_own_table():
    other = record("without", 0, [0.5]) | {"configuration": {"model.width": 32}}
    text = evidence.tables([*RECORDS, other])
    assert text.count("| mean F1 (%) |") == 2
    assert "5 runs, seeds 0-2, 2.5 hours, commit abc" in text and "1 runs, seeds 0, 0.5 hours" in text


def test_the_page_keeps_its_head_and_gets_new_tables(tmp_path, monkeypatch):
    page = tmp_path / "evidence.md"
    page.write_text(f"# Evidence\n\nHow.\n\n{evidence.MARK}\nan old table\n")
    for run in RECORDS:
        records.append(tmp_path / "lines" / "label_noise.jsonl", run)
    monkeypatch.setattr(evidence, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["evidence", f"--evidence={tmp_path / 'lines'}"])
    evidence.main()
    head, _, tables = page.read_text().partition(evidence.MARK)
    assert head == "# Evidence\n\nHow.\n\n"
    plot = "![Mean F1 over the steps; teachers' lines are dashed](evidence/label_noise.png)"
    assert tables == f"\n## label_noise\n\n{plot}\n\n{evidence.tables(RECORDS)}\n"
    assert (tmp_path / "lines" / "label_noise.png").stat().st_size > 1000


def test_curves_are_means_over_the_steps_that_all_runs_have():
    few = record("restart", 0, [0.5, 0.5])  # one seed beside three
    figure = evidence.draw_curves([*RECORDS, record("without", 2, [0.34, 0.44]), few])
    (axes,) = figure.axes
    curves = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert set(curves) == {"without, student", "published, student", "published, teacher"}
    assert curves["without, student"] == pytest.approx(np.array([[10, 32.0], [20, 42.0]]))
