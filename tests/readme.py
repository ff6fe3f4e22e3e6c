"""Put the tables of the studies and the lists of files and formats into the READMEs: python -m tests.readme

A list of files stands between a comment that names a folder and the comment `end`: every module in that folder, with
the first sentence of its docstring.
"""

import ast
import re
from pathlib import Path

from eimf.data.formats.registry import FORMATS
from tests.studies import readme as tables

ROOT = Path(__file__).resolve().parents[1]
GUIDES = (ROOT / "eimf" / "README.md", ROOT / "pipeline" / "README.md")
"""The READMEs that list files."""
DATA = ROOT / "eimf" / "data" / "README.md"
"""The README that lists formats."""
READMES = (*tables.READMES, *GUIDES, DATA)
_FORMATS = re.compile(r"(<!-- formats -->\n).*?(<!-- end -->)", re.DOTALL)
_FILES = re.compile(r"(<!-- files of (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """`text` with the tables and the lists of files and formats as they are now."""
    text = _FORMATS.sub(lambda match: f"{match[1]}\n{formats()}\n{match[2]}", tables.filled(text))
    return _FILES.sub(lambda match: f"{match[1]}\n{files_of(ROOT / match[2])}\n{match[3]}", text)


def formats() -> str:
    """A table of all formats, those that are recognized first."""
    lines = [f"| `{kind.name}` | {kind.about} |\n" for kind in FORMATS.values()]
    return "| `dataset.format` | |\n|---|---|\n" + "".join(sorted(lines))


def files_of(folder: Path) -> str:
    """A table of the modules in a folder; empty for a folder without any."""
    modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    return "".join(f"| `{path.name}` | {first_sentence(path)} |\n" for path in modules).replace(
        "|", "| file | |\n|---|---|\n|", 1
    )


def first_sentence(path: Path) -> str:
    """What a module says of itself, on one line. Raises ValueError if it has no docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    if not docstring:
        raise ValueError(f"{path} has no docstring")
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s+(?=[A-Z`])", paragraph)[0]


if __name__ == "__main__":
    for path in READMES:
        path.write_text(filled(path.read_text()))
