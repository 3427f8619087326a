"""Timing: turns, budgets, what is kept, and what happens to a provider that fails."""

from __future__ import annotations

import math

import pytest

from hud_fast.bench import Bench, Case, Missing, Run, Settings, measure


class Work:
    """Providers that take a stated time on a clock that only they move."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def clock(self):
        return self.now

    def run(self, name, start, each, **options):
        def call(count):
            self.log.append((name, count))
            self.now += start + each * count
            return count

        return Run(call, **{"items": 1000, "step": 10, **options})


def by_name(results):
    return {result.provider: result for result in results}


def test_medians_are_of_seconds_an_item_and_providers_take_turns():
    work = Work()
    runs = {"a": work.run("a", 0.0, 1e-4), "b": work.run("b", 0.0, 2e-4)}
    found = by_name(measure(Bench("pixel", runs), Settings(), work.clock))
    assert found["a"].median_s == pytest.approx(1e-4)
    assert found["b"].median_s == pytest.approx(2e-4)
    assert (found["a"].items, found["a"].rounds) == (1000, 7)
    assert [name for name, _ in work.log[-6:]] == ["a", "b"] * 3


def test_a_slow_provider_does_a_part_and_its_setup_is_not_multiplied():
    work = Work()
    # 0.3 s to set up: a fraction of the work times its share would say 30 s for all, and the truth is 0.35.
    runs = {"setup": work.run("setup", 0.3, 5e-5), "slow": work.run("slow", 0.0, 0.01)}
    found = by_name(measure(Bench("query", runs), Settings(), work.clock))
    assert found["setup"].items == 1000
    assert found["setup"].median_s == pytest.approx(0.35 / 1000)
    assert 30 <= found["slow"].items <= 40
    assert found["slow"].items % 10 == 0
    assert found["slow"].of == 1000
    assert found["slow"].median_s == pytest.approx(0.01)


def test_long_calls_get_fewer_rounds_but_five():
    work = Work()
    runs = {"long": work.run("long", 3.0, 0.0, step=0)}
    (found,) = measure(Bench("pixel", runs), Settings(), work.clock)
    assert found.rounds == 5


def test_short_calls_are_repeated_until_the_clock_can_tell():
    work = Work()
    runs = {"short": work.run("short", 1e-6, 0.0, step=0)}
    (found,) = measure(Bench("byte", runs), Settings(), work.clock)
    assert found.median_s == pytest.approx(1e-9)
    assert len(work.log) > 7 * 3000


@pytest.mark.parametrize("error", [1e-3, math.nan])
def test_a_wrong_answer_is_marked(error):
    runs = {"ours": Run(lambda _: 0, items=1, kind="ours", error=lambda _: error, limit=1e-6)}
    (found,) = measure(Bench("pixel", runs), Settings(quick=True))
    assert found.wrong
    assert found.kind == "ours"


def test_a_provider_that_fails_is_a_result():
    def fail(_):
        raise OSError("no\nluck")

    runs = {
        "ours": Run(fail, items=1, kind="ours"),
        "peer": Run(fail, items=1),
        "absent": Missing("not installed"),
        "well": Run(lambda _: 0, items=1),
    }
    found = by_name(measure(Bench("pixel", runs), Settings(quick=True)))
    assert list(found) == list(runs)
    assert found["peer"].why == "failed: OSError: no luck"
    assert not found["peer"].wrong
    assert found["ours"].wrong
    assert found["absent"].why == "not installed"
    assert found["well"].median_s > 0


def test_peak_memory_is_asked_for_once():
    calls = []
    runs = {"ours": Run(lambda n: calls.append(n) or 4096, items=70, kind="ours", step=1)}
    (found,) = measure(Bench("peak", runs), Settings())
    assert calls == [70]
    assert (found.median_s, found.rounds) == (4096.0, 1)


def test_a_case_keeps_to_its_providers():
    case = Case(
        "g", "n", ("b", "a"), lambda _: Bench("pixel", {"a": Missing("x"), "b": Missing("y")})
    )
    assert list(case.build(True).runs) == ["b", "a"]
    odd = Case("g", "n", ("a",), case.make)
    with pytest.raises(RuntimeError, match="case 'n' does not list b"):
        odd.build(True)
