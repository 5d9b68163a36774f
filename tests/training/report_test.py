"""The averages of the log, and what they cost in a step."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.progress import Progress

from dmlcsr_jax.devices import replicate
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training import report
from dmlcsr_jax.training.experiment import TrainingSettings
from dmlcsr_jax.training.report import Reporter

PLAN = types.SimpleNamespace(total_steps=100, epoch_steps=10, schedule=lambda step: 0.1)
LOSSES = np.random.default_rng(0).normal(size=8).astype(np.float32)


class Log(dict):
    def scalars(self, step, values):
        self[step] = values["train/total"]


def reporter(log, *, log_every=8, start=0, window=None):
    settings = TrainingSettings(log_every=log_every)
    return Reporter(settings, PLAN, log, Progress(disable=True), start=start, window=window or {})


def run(reports, steps):
    for step in steps:
        reports(step, replicate({"total": jnp.asarray(LOSSES[step - 1])}))


def test_a_line_has_the_mean_since_the_last_one():
    log = Log()
    run(reporter(log, log_every=4), range(1, 9))
    assert log == {4: pytest.approx(LOSSES[:4].mean()), 8: pytest.approx(LOSSES[4:].mean())}


def test_a_step_touches_no_term(monkeypatch):
    """Any operation on a deleted array fails; and a line fetches all terms at once."""
    fetched = []
    monkeypatch.setattr(report.jax, "device_get", lambda pending: fetched.append(len(pending)) or [])
    reports = reporter(Log(), log_every=50)
    for step in range(1, 50):
        terms = replicate({"total": jnp.ones(()), "lovasz": jnp.ones(())})
        jax.tree.map(lambda term: term.delete(), terms)
        reports(step, terms)
    assert not fetched
    reports.require_finite()
    assert fetched == [49]


def test_a_resumed_run_writes_the_same_line():
    whole, stopped, resumed = Log(), Log(), Log()
    run(reporter(whole), range(1, 9))
    before = reporter(stopped)
    run(before, range(1, 4))
    run(reporter(resumed, start=3, window=before.window()), range(4, 9))
    assert not stopped and resumed == whole
    run(before, range(4, 9))  # a checkpoint alone changes nothing
    assert stopped == whole


def test_a_run_without_lines_keeps_few_terms_on_the_device(monkeypatch):
    monkeypatch.setattr(report, "_MOST_PENDING", 3)
    reports = reporter(Log(), log_every=0)
    run(reports, range(1, 9))
    assert len(reports._pending) == 2
    total, count = reports.window()["total"]
    assert (total, count) == (pytest.approx(LOSSES.astype(float).sum()), 8)


def test_an_infinite_loss_names_its_step():
    reports = reporter(Log())
    reports(5, {"total": jnp.asarray(1.0)})
    reports(6, {"total": jnp.asarray(jnp.inf)})
    with pytest.raises(UserError, match="the loss of step 6 is inf"):
        reports.require_finite()
