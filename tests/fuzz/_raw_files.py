"""Raw files of an importer's case: events and items in the syntax of some format, plain or compressed."""

import csv
import gzip
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz._raw_values import array, odd_array, printed

Table = dict[str, Any]
"""Columns by name: lists or Arrow arrays of one length."""
Settings = dict[str, Any]
"""Settings of a recipe by their full name."""


def write_table(rng: random.Random, folder: Path, kind: str, table: Table, settings: Settings) -> None:
    """Write a table of `kind`, events or items, below `folder`, and name it in the settings."""
    writers = (_parquet, _parquet, _delimited, _delimited, _delimited, _json_lines)
    ending, data = rng.choice(writers)(rng, kind, table, settings)
    name = f"{kind}{ending}"
    names = [name]
    match rng.choice(("plain",) * 5 + ("gz", "zst", "zip", "folder")):
        case "plain":
            (folder / name).write_bytes(data)
        case "gz":
            names = [f"{name}.gz"]
            (folder / names[0]).write_bytes(gzip.compress(data))
        case "zst":
            names = [f"{name}.zst"]
            (folder / names[0]).write_bytes(pa.compress(data, codec="zstd", asbytes=True))
        case "zip":
            names = [f"{kind}.zip", f"{kind}.zip/{name}"]
            with zipfile.ZipFile(folder / names[0], "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, data)
        case "folder":
            names = [f"{kind}s", f"{kind}s/*{ending}"]
            (folder / names[0]).mkdir()
            (folder / names[0] / name).write_bytes(data)
    settings["dataset.interactions" if kind == "event" else "dataset.items"] = rng.choice(names)


def write_movielens(folder: Path, events: Table, items: Table) -> None:
    """`ratings.dat` and `movies.dat`, as MovieLens-1M has them."""
    columns = [printed(events[name]) for name in ("user_id", "item_id", "rating", "order")]
    lines = ["::".join(map(str, row)) for row in zip(*columns, strict=True)]
    (folder / "ratings.dat").write_text("\n".join(lines), "latin-1", errors="replace")
    columns = [printed(items[name]) for name in ("item_id", "title", "categories")]
    lines = ["::".join(map(str, row)) for row in zip(*columns, strict=True)]
    (folder / "movies.dat").write_text("\n".join(lines), "latin-1", errors="replace")


def write_recbole(folder: Path, events: Table, items: Table) -> None:
    """`x.inter` and `x.item`: atomic files, with the type of each column in the header."""
    heads = {
        "user_id": "user_id:token",
        "item_id": "item_id:token",
        "rating": "rating:float",
        "order": "timestamp:float",
    }
    _write_tabs(folder / "x.inter", {head: events[name] for name, head in heads.items()})
    heads = {"item_id": "item_id:token", "title": "title:token_seq", "categories": "categories:token_seq"}
    _write_tabs(folder / "x.item", {head: items[name] for name, head in heads.items()})


def write_amazon_2018(folder: Path, events: Table, items: Table) -> None:
    """`X_5.json` and `meta_X.json`: JSON lines."""
    names = {"reviewerID": "user_id", "asin": "item_id", "overall": "rating", "unixReviewTime": "order"}
    reviews = [row | {"verified": True} for row in _rows(events, names)]
    games = [row | {"category": ["All", row["category"]]} for row in _rows(items, _AMAZON_ITEMS)]
    for name, rows in (("Toys_5.json", reviews), ("meta_Toys.json", games)):
        (folder / name).write_text("\n".join(json.dumps(row, default=str) for row in rows))


_AMAZON_ITEMS = {"asin": "item_id", "title": "title", "category": "categories"}


def write_steam(folder: Path, events: Table, items: Table) -> None:
    """`steam_reviews.json` and `steam_games.json`: Python literals."""
    reviews = _rows(events, {"username": "user_id", "product_id": "item_id", "date": "order"})
    games = _rows(items, {"id": "item_id", "app_name": "title", "genres": "categories"})
    for review in reviews:  # a day of 2017 for each number
        number = review["date"]
        review["date"] = f"2017-01-{number % 28 + 1:02}" if isinstance(number, int) else number
    for name, rows in (("steam_reviews.json", reviews), ("steam_games.json", games)):
        (folder / name).write_text("\n".join(map(repr, rows)), errors="replace")


def write_sasrec_text(folder: Path, events: Table, items: Table) -> None:
    """`X.txt`: a user and an item in each line, in order."""
    pairs = [(len(str(user)) * index % 9 + 1, index % 6 + 1) for index, user in enumerate(printed(events["user_id"]))]
    (folder / "X.txt").write_text("".join(f"{user} {item}\n" for user, item in sorted(pairs)))


def _rows(table: Table, names: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of a table with the columns `names`, by their new names."""
    columns = [printed(table[column]) for column in names.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _write_tabs(path: Path, table: Table) -> None:
    rows = [list(table), *zip(*map(printed, table.values()), strict=True)]
    path.write_text("\n".join("\t".join(map(str, row)) for row in rows), errors="replace")


def damage(rng: random.Random, folder: Path) -> None:
    """Change one of the files: cut it, or change some bits or bytes."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = path.read_bytes()
    if not data or rng.random() < 0.3:
        path.write_bytes(data[: rng.randrange(len(data) + 1)])
        return
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(changed))
        changed[at] = changed[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.8 else rng.randrange(256)
    path.write_bytes(bytes(changed))


def _parquet(rng: random.Random, kind: str, table: Table, settings: Settings) -> tuple[str, bytes]:
    arrays = [values if isinstance(values, pa.Array) else array(values) for values in table.values()]
    names = [*table, rng.choice(list(table)) if rng.random() < 0.04 else "other"]
    whole = pa.Table.from_arrays([*arrays, odd_array(rng, len(arrays[0]))], names=names)
    if rng.random() < 0.03:
        whole = whole.select(rng.sample(range(whole.num_columns), min(4, whole.num_columns)))
    options = {"compression": rng.choice(("none", "snappy", "zstd")), "write_page_checksum": rng.random() < 0.3}
    stream = io.BytesIO()
    pq.write_table(whole, stream, row_group_size=rng.choice((1, 7, 1000)), **options)
    return ".parquet", stream.getvalue()


def _json_lines(rng: random.Random, kind: str, table: Table, settings: Settings) -> tuple[str, bytes]:
    columns = [printed(values) for values in table.values()]
    rows = [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
    if rng.random() < 0.3:
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    ascii_only = rng.random() < 0.5
    lines = [json.dumps(row, ensure_ascii=ascii_only, default=str) for row in rows]
    return rng.choice((".jsonl", ".json", ".ndjson")), "\n".join(lines).encode(errors="replace")


def _delimited(rng: random.Random, kind: str, table: Table, settings: Settings) -> tuple[str, bytes]:
    ending, separator = rng.choice(((".csv", ","), (".csv", ","), (".tsv", "\t"), (".inter", "\t"), (".txt", ";")))
    if ending == ".txt":
        settings.setdefault("dataset.table.separator", rng.choice((";", "|", "::", " ")))
    separator = settings.get("dataset.table.separator", separator)
    rows = [list(map(str, table)), *(list(row) for row in zip(*map(printed, table.values()), strict=True))]
    if rng.random() < 0.1:  # a row that is too short or too long
        rng.choice(rows)[rng.randrange(len(table)) :] = rng.choice(([], ["a"] * 5))
    if kind == "item" and rng.random() < 0.1 and "dataset.table.header" not in settings:
        settings["dataset.table.header"] = rows.pop(0)
    encoding = settings.setdefault(
        "dataset.table.encoding", rng.choice(("utf-8",) * 8 + ("latin-1", "utf-16", "cp1252"))
    )
    if rng.random() < 0.05:
        encoding = rng.choice(("utf-8-sig", "latin-1", "utf-16"))
    return ending, _text(rng, rows, separator, bare=ending == ".inter").encode(encoding, errors="replace")


def _text(rng: random.Random, rows: list[list[Any]], separator: str, *, bare: bool) -> str:
    if bare or rng.random() < 0.05 or len(separator) > 1:  # as a careless program would
        return "\n".join(separator.join(map(str, row)) for row in rows)
    text, escape = io.StringIO(), rng.random() < 0.1
    writer = csv.writer(
        text,
        delimiter=separator,
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
        lineterminator=rng.choice(("\n", "\r\n", "\n\n", "\r")),
        doublequote=not escape,
        escapechar="\\" if escape else None,
    )
    writer.writerows(rows)
    return text.getvalue()
