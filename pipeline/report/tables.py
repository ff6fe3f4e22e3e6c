"""Tables of numbers that any renderer can format."""

from dataclasses import dataclass

from eimf.statistics import Difference, Mean


@dataclass(frozen=True)
class Number:
    """A number, and how many decimals to show."""

    value: float
    digits: int = 4


@dataclass(frozen=True)
class SeedMeans:
    """NDCG@10 and Recall@10 over `seeds`; `complete` if these are all that were asked for."""

    ndcg: Mean
    recall: Mean
    seeds: tuple[int, ...]
    complete: bool


@dataclass(frozen=True)
class Gain:
    """A difference, shown as a share of its baseline."""

    difference: Difference


Cell = str | Number | Mean | SeedMeans | Difference | Gain | None
"""None is a cell without a value."""


@dataclass(frozen=True)
class Table:
    """Rows with their names; `corner` is the name of the column of names."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    def transposed(self) -> "Table":
        """The same with a row for each column."""
        columns = zip(*(cells for _, cells in self.rows), strict=True)
        return Table(self.corner, tuple(name for name, _ in self.rows), tuple(zip(self.columns, columns, strict=True)))
