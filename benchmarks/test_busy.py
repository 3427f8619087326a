"""Group ``busy``: see hud_fast/bench/busy.py."""


def test_busy(one_case):
    one_case()
