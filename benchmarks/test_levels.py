"""Group ``levels``: see hud_fast/bench/levels.py."""


def test_levels(one_case):
    one_case()
