"""Group ``scaling``: see hud_fast/bench/scaling.py."""


def test_scaling(one_case):
    one_case()
