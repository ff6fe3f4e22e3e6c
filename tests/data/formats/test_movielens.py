"""Each release of MovieLens, in its own syntax."""

import pytest

from eimf.data.formats.movielens import MOVIELENS
from eimf.data.formats.registry import find_format
from eimf.data.formats.table import TABLE_FORMAT
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, texts, write_source

RATINGS = [
    ("1", "20", "3", "978302109"),
    ("1", "10", "5", "978300760"),
    ("1", "30", "1", "978302268"),
    ("2", "10", "4", "978298413"),
    ("2", "20", "2", "978220179"),
    ("2", "30", "5", "978220200"),
    ("3", "30", "5", "978220200"),
]
HALF_STARS = [(user, film, f"{int(stars) - 0.5}", time) for user, film, stars, time in RATINGS]
FILMS = [
    ("10", "Mis\u00e9rables, Les (1995)", ["Drama", "Musical"]),
    ("20", 'Say "Yes" (1998)', ["Comedy"]),
    ("30", "Good, the Bad: a Film", []),
]
FLAGS = {"unknown": 0, "Comedy": 5, "Drama": 8, "Musical": 12}
"""Positions of genres in `u.item`."""


def flags(genres: list[str]) -> str:
    positions = [FLAGS[genre] for genre in genres or ["unknown"]]
    return "|".join("1" if position in positions else "0" for position in range(19))


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


def names(genres: list[str]) -> str:
    return "|".join(genres or ["(no genres listed)"])


MOVIES_DAT = "".join(f"{film}::{title}::{names(genres)}\n" for film, title, genres in FILMS)
FILES = {
    "100k": {
        "u.data": "".join("\t".join(row) + "\n" for row in RATINGS),
        "u.item": "".join(
            f"{film}|{title}|01-Jan-1995||http://x/{film}|{flags(genres)}\n" for film, title, genres in FILMS
        ).encode("latin-1"),
        "u.genre": "unknown|0\n",
    },
    "1m": {
        "ratings.dat": "".join("::".join(row) + "\n" for row in RATINGS),
        "movies.dat": MOVIES_DAT.encode("latin-1"),
        "users.dat": "1::F::1::10::48067\n",
    },
    "10m": {
        "ratings.dat": "".join("::".join(row) + "\n" for row in HALF_STARS),
        "movies.dat": MOVIES_DAT,
        "tags.dat": "1::10::good: really::978300760\n",
    },
    "20m and later": {
        "ratings.csv": "\r\n".join(map(",".join, [("userId", "movieId", "rating", "timestamp"), *HALF_STARS, ()])),
        "movies.csv": "movieId,title,genres\r\n"
        + "".join(f"{film},{quoted(title)},{names(genres)}\r\n" for film, title, genres in FILMS),
        "links.csv": "movieId,imdbId,tmdbId\r\n10,0114709,862\r\n",
    },
}


@pytest.mark.parametrize("release", FILES)
def test_every_release_is_imported(tmp_path, release):
    source = write_source(tmp_path, {f"ml/{name}": content for name, content in FILES[release].items()})
    assert find_format("auto", source) is MOVIELENS
    rows = RATINGS if release in ("100k", "1m") else HALF_STARS
    assert read_events(MOVIELENS, source, "userId", "movieId", "rating", "timestamp") == rows
    data = import_source(source)
    assert histories(data) == expected_histories((user, film, float(time)) for user, film, _, time in RATINGS)
    assert data.timestamps.min() == min(int(time) for user, *_, time in RATINGS if user != "3")
    assert texts(data) == {film: " | ".join([title, ", ".join(genres)]).strip(" |") for film, title, genres in FILMS}


@pytest.mark.parametrize(
    ("name", "content"), [("ratings.csv", "user,item,rating\n"), ("u.data", "a,b\n"), ("ratings.dat", "1::2::3::4\n")]
)
def test_other_files_of_these_names_are_not_taken_for_movielens(tmp_path, name, content):
    assert find_format("auto", write_source(tmp_path, {name: content})) is TABLE_FORMAT
