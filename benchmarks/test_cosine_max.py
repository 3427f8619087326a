"""Group ``cosine_max``: see hud_fast/bench/cosine_max.py."""


def test_cosine_max(one_case):
    one_case()
