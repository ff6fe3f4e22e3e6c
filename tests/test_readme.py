"""The tables that the READMEs show are those that the sweeps have written."""

import re

import pytest

from tests.study.readme import READMES, filled


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.parent.name))
def test_a_readme_shows_the_tables_of_the_studies(readme):
    text = readme.read_text()
    assert filled(text) == text, "python tests/study/readme.py"
    shown = set(re.findall(r"<!-- tests/study/(\S+)/table.md -->", text))
    assert shown and shown <= set(re.findall(r"PLAN=tests/study/(\S+?)\.toml", text))
