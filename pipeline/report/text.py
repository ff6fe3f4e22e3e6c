"""Numbers and tables as plain text, for a terminal."""

import math

from eimf.statistics import Difference, Mean
from pipeline.report.tables import Cell, Gain, Number, SeedMeans, Table


def format_cell(cell: Cell) -> str:
    """One cell."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case Number(value, digits):
            return f"{value:.{digits}f}"
        case Mean(value, deviation, n):
            return f"{value:.4f} ± {deviation:.4f}" if n > 1 else f"{value:.4f}"
        case SeedMeans(ndcg, recall, seeds, complete):
            which = "" if complete else f", seed {', '.join(map(str, seeds))}"
            return f"{format_cell(ndcg)} / {format_cell(recall)}{which}"
        case Difference(value, error):
            return f"{value:+.4f} ± {error:.4f} {format_test(cell)}"
        case Gain(difference):
            return f"{100 * difference.relative:+.1f} % {format_test(difference)}"


def format_test(difference: Difference) -> str:
    """The p of a difference, marked by `*` if it is significant, and then whether a seed has the other sign. Otherwise
    the smallest gain that would have been, as a share of the baseline."""
    if difference.identical:
        return "(identical)"
    if difference.significant:
        return f"(p {difference.p:.2g}{', not every seed' * (difference.every_seed_agrees is False)})*"
    share = difference.relative_detectable
    return f"(p {difference.p:.2g}{'' if math.isnan(share) else f', {format_share(share)} would show'})"


def format_share(share: float) -> str:
    """A share of one as a percentage with two significant digits, or without decimals from 10 % on."""
    return f"{100 * share:.{0 if share > 0.0995 else 1}f} %"


def format_table(table: Table) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    header = [table.corner, *table.columns]
    rows = [[name, *map(format_cell, cells)] for name, cells in table.rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return "\n".join(_aligned(row, widths) for row in [header, ["-" * width for width in widths], *rows])


def _aligned(row: list[str], widths: list[int]) -> str:
    name, *cells = row
    return "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip()
