"""Put the tables of the studies into the READMEs: python tests/studies/readme.py

A table stands between a comment that names its results and the comment `end`; `NDCG@10 of` its results asks for a short
form, `gains of VARIANT:` several folders of results for one table of them all. All results count, whatever version of
the code they are from.
"""

import re
from pathlib import Path

from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Cell, SeedMeans, Table
from pipeline.report.text import format_cell
from pipeline.sweeps.plan import Plan, read_plan
from pipeline.sweeps.results import FILE, TrialResult, read_results
from pipeline.sweeps.table import format_tables, results_tables
from tests.studies.gains import gains_table

ROOT = Path(__file__).resolve().parents[2]
READMES = (ROOT / "README.md", ROOT / "tests" / "studies" / "README.md")
_BLOCK = re.compile(rf"(<!-- (NDCG@10 of )?(tests/studies/\S+)/{re.escape(FILE)} -->\n).*?(<!-- end -->)", re.DOTALL)

_GAINS = re.compile(r"(<!-- gains of (\S+): (tests/studies/[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """`text` with the tables of the results as they are now."""
    return _GAINS.sub(_gains, _BLOCK.sub(_block, text))


def _block(match: re.Match[str]) -> str:
    tables = tables_of(ROOT / match[3])
    return f"{match[1]}\n{format_markdown(ndcg_only(tables)) if match[2] else format_tables(tables)}\n{match[4]}"


def _gains(match: re.Match[str]) -> str:
    table = gains_table(match[2], [study(ROOT / name) for name in match[3].split(", ")])
    return f"{match[1]}\n{format_markdown(table)}\n{match[4]}"


def tables_of(folder: Path) -> list[Table]:
    """The tables of a study. Raises ValueError for a damaged result."""
    return results_tables(*study(folder))


def study(folder: Path) -> tuple[Plan, list[TrialResult]]:
    """A plan and its results, none if it has not run. Raises ValueError for a damaged result."""
    results, problems = read_results(folder)
    if problems:
        raise ValueError("; ".join(problems))
    return read_plan(folder.with_suffix(".toml")), list(results.values())


def ndcg_only(tables: list[Table]) -> Table:
    """One table of all data sets with the NDCG@10 of each variant: no Recall, no differences."""
    means = [table for table in tables if any(isinstance(cell, SeedMeans) for _, cells in table.rows for cell in cells)]
    if len({table.columns for table in means}) != 1:
        raise ValueError("the data sets have different variants")
    rows = [
        (f"{table.corner}, {name}", tuple(_short(cell) for cell in cells))
        for table in means
        for name, cells in table.rows
    ]
    return Table("", means[0].columns, tuple(rows))


def _short(cell: Cell) -> str:
    return format_cell(cell.ndcg).replace("0.", ".") if isinstance(cell, SeedMeans) else ""


if __name__ == "__main__":
    for readme in READMES:
        readme.write_text(filled(readme.read_text()))
