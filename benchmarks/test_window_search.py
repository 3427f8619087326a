"""Group ``window_search``: see hud_fast/bench/window_search.py."""


def test_window_search(one_case):
    one_case()
