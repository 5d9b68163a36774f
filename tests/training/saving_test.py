"""Checkpoints by the clock."""

import itertools

import pytest

from dmlcsr_jax.training import saving
from dmlcsr_jax.training.saving import SaveTimer


class Host:
    """A host whose steps take as long as `seconds` says, from step to seconds."""

    def __init__(self, seconds, minutes):
        self.now, self.seconds = 1e6, seconds
        self.timer = SaveTimer(minutes, 0, clock=lambda: self.now)

    def __call__(self, step):
        """Takes a step; whether it is saved."""
        self.now += self.seconds(step)
        return self.timer(step)


def saved_steps(host, steps):
    found = []
    for step in range(1, steps + 1):
        if host(step):
            host.timer.restart(step)
            found.append(step)
    return found


def test_a_step_is_saved_when_the_minutes_have_passed():
    assert saved_steps(Host(lambda step: 7.0, minutes=1), 30) == [9, 18, 27]  # 63 s


def test_zero_minutes_are_never():
    assert saved_steps(Host(lambda step: 1e6, minutes=0), 30) == []


def test_another_checkpoint_restarts_the_minutes():
    host = Host(lambda step: 10.0, minutes=1)
    due = []
    for step in range(1, 12):
        due.append(host(step))
        if step == 4:  # after an evaluation
            host.now += 1000
            host.timer.restart(step)
    assert due.index(True) + 1 == 4 + 6


@pytest.fixture
def pair(monkeypatch):
    """Saves of two hosts in lockstep: ([(first, second) per step], how often they asked)."""

    def run(first, second, steps, before=()):
        told, asked, found = [], [], []
        monkeypatch.setattr(saving.jax, "process_count", lambda: 2)
        for step in range(1, steps + 1):

            def tell(values, step=step):
                told.append(values)
                asked.append(step)
                return values

            monkeypatch.setattr(saving, "from_first", tell)
            one, count = first(step), len(told)
            monkeypatch.setattr(saving, "from_first", lambda values: told[-1])
            other = second(step)
            assert count == len(told)
            found.append((one, other))
            if one:
                first.timer.restart(step)
                second.timer.restart(step)
        return found, asked

    return run


def test_hosts_save_together_by_the_clock_of_the_first(pair):
    """The second one's clock stands still; both save after the same steps, at most a tenth late, and ask seldom."""
    found, asked = pair(Host(lambda step: 0.03, 10), Host(lambda step: 0.0, 10), 50_000)
    assert all(one == other for one, other in found)
    saves = [step for step, (one, _) in enumerate(found, 1) if one]
    minutes = [(end - start) * 0.03 / 60 for start, end in zip([0, *saves], saves, strict=False)]
    assert len(saves) == 2 and all(10 <= each <= 11 for each in minutes)
    assert len(asked) < 80


def test_hosts_that_become_slower_ask_after_fewer_steps(pair):
    """From 10 ms to 1 s a step: the interval of a minute ends at most once the next look is reached."""
    found, asked = pair(Host(lambda step: 0.01 if step < 3000 else 1.0, 1), Host(lambda step: 0.0, 1), 5000)
    saves = [step for step, (one, _) in enumerate(found, 1) if one and step > 4000]
    assert len(saves) > 10 and all(60 <= end - start <= 67 for start, end in itertools.pairwise(saves))
    assert all(one == other for one, other in found)
    assert asked[:3] == [1, 3, 7]  # before the rate is known
