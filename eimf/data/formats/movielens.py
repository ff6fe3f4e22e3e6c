"""MovieLens: 100k, 1m, 10m, 20m, 25m, 32m and latest.

Source: README of each release, https://grouplens.org/datasets/movielens. 100k has `u.data` (tabs) and `u.item` (bars,
19 flags of genres), 1m and 10m `.dat` files (`::`), later ones CSV files. Text is latin-1 before 10m, UTF-8 since.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import first_line, read_delimited
from eimf.data.formats.base import Columns, Format, choose_columns
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_RATING_COLUMNS = ("userId", "movieId", "rating", "timestamp")
_MOVIE_COLUMNS = ("movieId", "title", "genres")
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""Flags of `u.item`, in their order."""
_ITEM_100K_COLUMNS = ("movieId", "title", "release date", "video release date", "IMDb URL", *_GENRES)
_NO_GENRES = ("(no genres listed)", "unknown")
_RATINGS = {
    ".data": Layout("\t", _RATING_COLUMNS, "latin-1", quoted=False),
    ".dat": Layout("::", _RATING_COLUMNS, "latin-1", quoted=False),
    ".csv": Layout(","),
}
"""By the ending of the file."""


def _read_ratings(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    return read_delimited(file, columns, _RATINGS[_ending(file)], field)


def _read_movies(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    wanted = choose_columns(_MOVIE_COLUMNS, columns, file, field)
    if _ending(file) == ".item":
        layout = Layout("|", _ITEM_100K_COLUMNS, "latin-1", quoted=False)
        frames = map(_genres_of_flags, read_delimited(file, _ITEM_100K_COLUMNS, layout, field))
    elif _ending(file) == ".dat":
        layout = Layout("::", _MOVIE_COLUMNS, _encoding(file), quoted=False)
        frames = map(_split_genres, read_delimited(file, _MOVIE_COLUMNS, layout, field))
    else:
        frames = map(_split_genres, read_delimited(file, _MOVIE_COLUMNS, Layout(","), field))
    return (frame.select(wanted) for frame in frames)


def _ending(file: RawFile) -> str:
    return PurePosixPath(file.name).suffix.lower()


def _encoding(file: RawFile) -> str:
    """Of the movies, which are less than a megabyte."""
    with file.open() as stream:
        try:
            stream.read().decode()
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def _split_genres(movies: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    genres = pl.col("genres").str.split("|")
    return movies.with_columns(genres.list.set_difference(list(_NO_GENRES)))


def _genres_of_flags(movies: "pl.DataFrame") -> "pl.DataFrame":
    """`movies` with a list of the genres whose flag is 1."""
    import polars as pl

    flags = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in _GENRES if genre not in _NO_GENRES]
    return movies.with_columns(genres=pl.concat_list(flags).list.drop_nulls())


def _recognizes(source: Source) -> bool:
    """`u.data` with tabs, `ratings.dat` beside `movies.dat`, or `ratings.csv` with its header."""
    if source.find(["ratings.dat"]):
        return bool(source.find(["movies.dat"]))
    if data := source.find(["u.data"]):
        return first_line(data[0]).count("\t") == len(_RATING_COLUMNS) - 1
    return any(first_line(file) == ",".join(_RATING_COLUMNS) for file in source.find(["ratings.csv"]))


MOVIELENS = Format(
    name="movielens",
    about="MovieLens 100k, 1m, 10m, 20m, 25m, 32m, latest: films with genres, ratings from .5 to 5",
    events=("u.data", "ratings.dat", "ratings.csv"),
    items=("u.item", "movies.dat", "movies.csv"),
    columns=Columns(
        user="userId",
        item="movieId",
        order="timestamp",
        timestamp="timestamp",
        rating="rating",
        item_key="movieId",
        title="title",
        text=("title", "genres"),
    ),
    read_events=_read_ratings,
    read_items=_read_movies,
    recognizes=_recognizes,
    notes=("Papers on ml-1m use all ratings as events, with at least 5 of each film: cleaning.min_item_events=5.",),
)
