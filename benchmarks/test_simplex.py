"""Group ``simplex``: see hud_fast/bench/simplex.py."""


def test_simplex(one_case):
    one_case()
