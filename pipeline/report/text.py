"""Numbers and tables as plain text, for a terminal."""

from pipeline.report.tables import Cell, Difference, Mean, Number, SeedMeans, Table


def format_cell(cell: Cell) -> str:
    """One cell; `*` marks a difference with p below .05."""
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
            return f"{value:+.4f} ± {error:.4f} {format_p(cell)}"


def format_p(difference: Difference) -> str:
    """The p of a difference, marked if it is small."""
    return f"(p {difference.p:.2g}){'*' if difference.significant else ''}"


def format_table(table: Table) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    header = [table.corner, *table.columns]
    rows = [[name, *map(format_cell, cells)] for name, cells in table.rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return "\n".join(_aligned(row, widths) for row in [header, ["-" * width for width in widths], *rows])


def _aligned(row: list[str], widths: list[int]) -> str:
    name, *cells = row
    return "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip()
