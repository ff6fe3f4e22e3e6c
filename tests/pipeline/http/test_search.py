"""What a person types finds what they mean."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eimf.serving.catalogue import Catalogue
from pipeline.http import search
from pipeline.http.search import Search, simple


def found(titles: list[str | None], query: str, count: int = 20, order: list[int] | None = None) -> list[str]:
    catalogue = Catalogue([f"id{number}" for number in range(1, len(titles) + 1)], titles)
    return Search(catalogue, np.array(order or range(1, len(titles) + 1))).find(query, count)


def test_beginnings_come_first_then_words_then_parts():
    titles = ["Mustard", "The Stars", "Starlight", None, "A star", "Star, again: star"]
    assert found(titles, "STAR") == ["id3", "id6", "id2", "id5", "id1"]
    assert found(titles, "star", 2) == ["id3", "id6"]
    assert found(titles, "the  stars ") == ["id2"] and found(titles, "id4") == ["id4"]


def test_popular_items_come_first():
    assert found(["A one", "A two", "A three"], "a", order=[3, 1, 2]) == ["id3", "id1", "id2"]
    assert found(["A one", "A two", "A three"], "", 2, order=[3, 1, 2]) == ["id3", "id1"]


def test_case_accents_and_lines_do_not_count():
    assert found(["Amélie\nPoulain", "STRASSE", "Straße"], "amelie poulain") == ["id1"]
    assert found(["Amélie", "STRASSE", "Straße"], "straße") == ["id2", "id3"]
    assert found(["七人の侍"], "人の") == ["id1"]


@given(st.lists(st.text("ab \né", max_size=8), min_size=1, max_size=12), st.text("ab é", min_size=1, max_size=3))
def test_exactly_the_titles_that_hold_the_text_are_found(titles, query):
    before, search._BLOCK = search._BLOCK, 5
    try:
        wanted = [f"id{row}" for row, title in enumerate(titles, 1) if simple(query) in simple(title)]
        assert sorted(found(titles, query)) == sorted(wanted)
    finally:
        search._BLOCK = before
