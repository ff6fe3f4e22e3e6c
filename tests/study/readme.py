"""Puts the tables of the studies into the READMEs: python tests/study/readme.py

A table stands between a comment that names its file and the comment `end`.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READMES = (ROOT / "README.md", ROOT / "tests" / "study" / "README.md")
_BLOCK = re.compile(r"(<!-- (tests/study/\S+/table\.md) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """`text` with the tables as the files have them."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{(ROOT / block[2]).read_text()}\n{block[3]}", text)


if __name__ == "__main__":
    for readme in READMES:
        readme.write_text(filled(readme.read_text()))
