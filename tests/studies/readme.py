"""Put the tables of the studies into the READMEs: python tests/studies/readme.py

A table stands between a comment that names its file and the comment `end`; `NDCG@10 of` its file asks for a short form.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READMES = (ROOT / "README.md", ROOT / "tests" / "studies" / "README.md")
_BLOCK = re.compile(r"(<!-- (NDCG@10 of )?(tests/studies/\S+/table\.md) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """`text` with the tables as the files have them."""
    return _BLOCK.sub(_block, text)


def _block(match: re.Match[str]) -> str:
    table = (ROOT / match[3]).read_text()
    return f"{match[1]}\n{ndcg_only(table) if match[2] else table}\n{match[4]}"


def ndcg_only(text: str) -> str:
    """One table of all data sets with the NDCG@10 of each variant: no Recall, no differences."""
    tables = [_cells(table) for table in text.strip().split("\n\n") if " minus " not in table.splitlines()[0]]
    variants = tables[0][0][1:]
    lines = [["", *variants], ["---", *["--:"] * len(variants)]]
    for (data, *columns), _, *rows in tables:
        if columns != variants:
            raise ValueError(f"{data} has other variants than {tables[0][0][0]}")
        lines += [
            [f"{data}, {backbone}", *(value.split(" / ")[0].replace("0.", ".") for value in values)]
            for backbone, *values in rows
        ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


if __name__ == "__main__":
    for readme in READMES:
        readme.write_text(filled(readme.read_text()))
