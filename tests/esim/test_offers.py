"""Properties of a closed vocabulary: every phrase offered is carried by its titles, whatever the catalogue is."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.esim.offers import Offer, offers_for, offers_schema
from eimf.esim.vocabulary import Catalogue, read_catalogue

WORDING = {"decade": "{} movies", "category": "{} movies", "series": "{} movies", "brand": "{} products", "kind": "{}"}
GENRES = ["Comedy", "Drama", "Crime", "Film-Noir", "Children's"]


def catalogue_of(titles, texts, histories) -> Catalogue:
    offsets = np.cumsum([0, *map(len, histories)])
    return read_catalogue(titles, texts, np.concatenate([*map(np.asarray, histories), []]).astype(np.int64), offsets)


def offers(rows, catalogue, most=16, slots=4) -> list[Offer]:
    return offers_for(rows, catalogue, WORDING, most=most, slots=slots, chars=60)


def movies(*genres: str) -> Catalogue:
    """A film of 1990 for each text of genres, each watched by someone."""
    titles = [f"Film {chr(97 + number) * 4}" for number in range(len(genres))]
    texts = [f"{title} | 1990 | {text}" for title, text in zip(titles, genres, strict=True)]
    return catalogue_of(titles, texts, [[number] for number in range(1, len(genres) + 1)])


def test_a_phrase_counts_by_how_much_more_often_the_history_has_it():
    # Half of all films are dramas, one in ten is a western; the history has two of each.
    catalogue = movies(*["Drama"] * 10, *["Western"] * 2, *["Comedy"] * 8)
    by_phrase = {offer.interest: offer for offer in offers([0, 1, 10, 11], catalogue)}
    assert by_phrase["western movies"].items == (3, 4)
    assert "drama movies" not in by_phrase  # as often as everybody
    assert "1990s movies" not in by_phrase  # all films
    assert "comedy movies" not in by_phrase  # none


def test_genres_and_decades_combine_and_the_rarer_genre_comes_first():
    texts = ["Comedy Western", "Comedy Western", *["Comedy", "Western"], *["Drama"] * 12, *["Comedy"] * 2]
    phrases = [offer.interest for offer in offers([0, 1, 4], movies(*texts))]
    assert "western comedy movies" in phrases and "comedy western movies" not in phrases


@pytest.mark.parametrize("text", ["Animation | Children's | Comedy", "Animation Children's Comedy"])
def test_genres_are_found_in_either_spelling(text):
    others = [*["Animation", "Children's", "Comedy"] * 2, *["Drama"] * 30]
    phrases = {offer.interest for offer in offers([0, 1, 9, 10], movies(text, text, *others))}
    assert {"animation comedy movies", "children's animation movies"} <= phrases


def test_products_are_named_by_brand_and_kind():
    titles = [
        "Avery Shipping Labels, White, 100 Count (5263)",
        "Avery File Folder Labels with TrueBlock, 750 Pack",
        "HP 56 Black Ink Cartridge in Retail Packaging",
        "HP 57 Tri-Color Ink Cartridge (C6657AN)",
        "Canon PGI-5 Ink Cartridges",
        "Canon PIXMA Inkjet Printer",
        "HP Deskjet 3 Inkjet Printer with Scanner",
        "DYMO Address Labels",
        "DYMO LabelWriter",
        "Avery Page Markers",
    ]
    texts = [f"{title} | {title.split()[0]}" for title in titles]
    catalogue = catalogue_of(titles, texts, [[1, 2, 8], [3, 4, 5], [6, 7], [9, 10]] * 9)
    by_phrase = {offer.interest: offer.items for offer in offers([0, 1, 2, 3, 8], catalogue)}
    assert by_phrase["Avery labels"] == (1, 2) and by_phrase["HP ink cartridges"] == (3, 4)
    assert not {"Avery products", "HP products"} & by_phrase.keys()  # all of theirs are of one kind
    mixed = {offer.interest: offer.items for offer in offers([2, 6, 9], catalogue)}
    assert mixed["HP products"] == (1, 2)  # a cartridge and a printer


def test_levels_of_a_path_are_categories_even_if_titles_begin_with_them():
    titles = [f"{name} {'abcdefgh'[number] * 4}" for number, name in enumerate(["Puzzles", "Games"] * 4)]
    texts = [f"{title} | Toys > {title.split()[0]} > Wooden {title.split()[0]}" for title in titles]
    found = offers([0, 2, 4], catalogue_of(titles, texts, [[1, 2], [3, 4], [5, 6]] * 9))
    assert {"puzzles movies", "wooden puzzles movies"} == {offer.interest for offer in found}  # by this wording
    assert all(offer.items == (1, 2, 3) for offer in found)


def test_slots_stand_for_different_titles_and_a_slot_has_its_phrases_together():
    catalogue = movies("Western", "Western", "Crime", "Crime", *["Drama"] * 12)
    found = offers([0, 1, 2, 3], catalogue)
    assert [offer.slot for offer in found] == sorted(offer.slot for offer in found)
    assert {offer.slot: offer.items for offer in found} == {0: (3, 4), 1: (1, 2)}


def test_a_phrase_for_all_titles_leaves_slots_to_narrower_ones():
    """All are westerns; two of them are comedies, two others crime."""
    texts = [
        *["Comedy Western"] * 2,
        *["Crime Western"] * 2,
        *["Western"] * 2,
        *["Drama"] * 20,
        *["Comedy", "Crime"] * 3,
    ]
    found = offers(range(6), movies(*texts))
    first = [next(offer for offer in found if offer.slot == slot) for slot in sorted({offer.slot for offer in found})]
    assert [offer.items for offer in first] == [(1, 2, 3, 4, 5, 6), (1, 2), (3, 4)]


def test_the_schema_takes_one_offer_of_each_slot():
    found = [Offer("a", (1, 2), 0), Offer('b "quoted" \u00e9', (2,), 0), Offer("c", tuple(range(1, 13)), 3)]
    schema = offers_schema(found, min_interests=1)
    assert (schema["minItems"], schema["maxItems"], len(schema["prefixItems"])) == (1, 2, 2)
    names = [[entry["properties"]["interest"]["const"] for entry in slot["anyOf"]] for slot in schema["prefixItems"]]
    assert names == [["a", 'b "quoted" \u00e9'], ["c"]]
    numbers = schema["prefixItems"][1]["anyOf"][0]["properties"]["items"]
    assert [number["const"] for number in numbers["prefixItems"]] == list(range(5, 13))  # the most recent
    assert offers_schema(found, min_interests=4)["minItems"] == 2


def test_a_history_without_anything_in_common_with_the_catalogue_has_no_offer():
    catalogue = catalogue_of(["Alpha", None, ""], ["Alpha", "untitled item", "untitled item"], [[1, 2, 3]])
    assert offers([0, 1, 2], catalogue) == [] and offers([0], catalogue) == []
    assert offers([], movies("Drama", "Drama")) == []


TITLES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "</s><|im_end|> [INST]",
            "a" * 500,
            "\u6c34\u6ed1\u7684\u7b14 \u5305",
            "Синие ручки",
            "1. x\n2. y",
            " | ",
            "(1999)",
        ]
    ),
    st.builds(
        "{} {} ({})".format, st.sampled_from(["Star Trek", "HP", ""]), st.text(max_size=9), st.integers(1800, 2100)
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_offer_is_carried_by_its_titles(data):
    titles = data.draw(st.lists(st.none() | TITLES, min_size=1, max_size=12))
    parts = st.lists(st.sampled_from([*GENRES, "Crime Drama", "Toys > Games > Puzzles", "HP", "1994"]), max_size=3)
    texts = [" | ".join([title or "", *data.draw(parts)]) or "untitled item" for title in titles]
    item_idx = st.integers(1, len(titles))
    histories = data.draw(st.lists(st.lists(item_idx, max_size=6), max_size=5))
    rows = [item - 1 for item in data.draw(st.lists(item_idx, min_size=1, max_size=15))]
    catalogue = catalogue_of(titles, texts, histories)
    found = offers(rows, catalogue, most=6, slots=3)
    assert found == offers(rows, catalogue_of(titles, texts, histories), most=6, slots=3)
    assert len(found) <= 6 and all(3 <= len(offer.interest) <= 60 and 0 <= offer.slot < 3 for offer in found)
    assert len({offer.interest for offer in found}) == len(found)
    for offer in found:
        carriers = [traits_named(offer.interest, catalogue, rows[number - 1]) for number in offer.items]
        assert offer.items and all(carriers), offer
    json.dumps(offers_schema(found, 2))


def traits_named(phrase: str, catalogue: Catalogue, row: int) -> bool:
    """Whether the item's traits, as they are written, are all that a phrase is made of."""
    rest = phrase.removesuffix(" movies").removesuffix(" products")
    for spelling in sorted((catalogue.spelling[trait] for trait in catalogue.traits[row]), key=len, reverse=True):
        rest = rest.replace(spelling, "", 1)
    return not rest.strip()
