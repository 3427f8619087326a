"""Group ``fcls``: see hud_fast/bench/fcls.py."""


def test_fcls(one_case):
    one_case()
