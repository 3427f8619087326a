"""Group ``fused``: see hud_fast/bench/fused.py."""


def test_fused(one_case):
    one_case()
