"""Each release of MovieLens, in its own syntax."""

import pytest

from eimf.data.formats.movielens import MOVIELENS
from tests.data.formats.reading import read_events, read_items, recognized, write_files

RATINGS = [("1", "10", "5", "978300760"), ("1", "20", "3", "978302109"), ("2", "10", "4", "978298413")]
HALF_STARS = [("1", "10", "5.0", "978300760"), ("1", "20", "3.5", "978302109"), ("2", "10", "0.5", "978298413")]
FILMS_1M = [("10", "Mis\u00e9rables, Les (1995)", ["Drama", "Musical"]), ("20", 'Say "Yes" (1998)', ["Comedy"])]
FILMS = [*FILMS_1M, ("30", "Good, the Bad: a Film", [])]
FLAGS = {"unknown": 0, "Comedy": 5, "Drama": 8, "Musical": 12}
"""Positions of genres in `u.item`."""


def flags(genres: list[str]) -> str:
    positions = [FLAGS[genre] for genre in genres or ["unknown"]]
    return "|".join("1" if position in positions else "0" for position in range(19))


def csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


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
        "movies.dat": "".join(f"{film}::{title}::{'|'.join(genres)}\n" for film, title, genres in FILMS_1M).encode(
            "latin-1"
        ),
        "users.dat": "1::F::1::10::48067\n",
    },
    "10m": {
        "ratings.dat": "".join("::".join(row) + "\n" for row in HALF_STARS),
        "movies.dat": "".join(
            f"{film}::{title}::{'|'.join(genres) or '(no genres listed)'}\n" for film, title, genres in FILMS
        ),
        "tags.dat": "1::10::good: really::978300760\n",
    },
    "20m and later": {
        "ratings.csv": "\r\n".join(map(",".join, [("userId", "movieId", "rating", "timestamp"), *HALF_STARS, ()])),
        "movies.csv": "movieId,title,genres\r\n"
        + "".join(
            f"{film},{csv_field(title)},{'|'.join(genres) or '(no genres listed)'}\r\n" for film, title, genres in FILMS
        ),
        "links.csv": "movieId,imdbId,tmdbId\r\n10,0114709,862\r\n",
    },
}


@pytest.mark.parametrize("release", FILES)
def test_every_row_of_every_release_is_read(tmp_path, release):
    source = write_files(tmp_path, {f"ml/{name}": content for name, content in FILES[release].items()})
    assert recognized(source) == ["movielens"]
    wanted = RATINGS if release in ("100k", "1m") else HALF_STARS
    assert read_events(MOVIELENS, source, "userId", "movieId", "rating", "timestamp") == wanted
    assert read_items(MOVIELENS, source, "movieId", "title", "genres") == (FILMS_1M if release == "1m" else FILMS)


def test_other_files_of_these_names_are_not_taken_for_movielens(tmp_path):
    for name, content in (("ratings.csv", "user,item,rating\n"), ("u.data", "a,b\n"), ("ratings.dat", "1::2::3::4\n")):
        folder = tmp_path / name
        assert recognized(write_files(folder, {name: content})) == []
