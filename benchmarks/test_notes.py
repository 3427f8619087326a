"""Group ``notes``: see hud_fast/bench/notes.py."""


def test_notes(one_case):
    one_case()
