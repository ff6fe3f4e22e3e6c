"""The README's tables are those that the sweeps have written."""

import re
from pathlib import Path

from tests.study.readme import filled

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_shows_the_tables_of_the_studies():
    text = README.read_text()
    assert filled(text) == text, "python tests/study/readme.py"
    named = set(re.findall(r"PLAN=tests/study/(\S+?)\.toml", text))
    assert set(re.findall(r"<!-- tests/study/(\S+)/table.md -->", text)) <= named
