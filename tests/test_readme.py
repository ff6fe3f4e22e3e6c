"""The READMEs tell the truth: tables, lists of files, commands and recipes are those of the project.
(Their Python runs in the tests of serving and of the backbones.)"""

import re
import tomllib
import xml.etree.ElementTree as ElementTree

import pytest

from eimf.data.reasons import Reason
from pipeline.recipe import load_recipe
from tests.command_lines import check, shown
from tests.readme import DATA, GUIDES, READMES, ROOT, filled

ALL = [*READMES, ROOT / "artifacts" / "README.md", ROOT / "tests" / "bench" / "README.md"]
README = (ROOT / "README.md").read_text()


def name(path):
    return str(path.relative_to(ROOT).parent)


@pytest.mark.parametrize("path", READMES, ids=name)
def test_tables_and_lists_of_files_are_those_of_the_project(path):
    assert filled(path.read_text()) == path.read_text(), "run python -m tests.readme"


def test_a_table_of_a_study_stands_beside_the_command_that_makes_it():
    for path in (ROOT / "README.md", ROOT / "tests" / "studies" / "README.md"):
        text = path.read_text()
        tables = set(re.findall(r"<!-- (?:NDCG@10 of )?(tests/\S+)/results.jsonl -->", text))
        for folders in re.findall(r"<!-- gains of \S+: (.+) -->", text):
            tables |= set(folders.split(", "))
        assert tables and tables <= set(re.findall(r"PLAN=(tests/\S+?)\.toml", text))


@pytest.mark.parametrize("path", GUIDES, ids=name)
def test_every_folder_with_modules_is_listed(path):
    folders = {file.parent for file in path.parent.rglob("*.py") if file.name != "__init__.py"}
    listed = {ROOT / folder for folder in re.findall(r"<!-- files of (\S+) -->", path.read_text())}
    assert folders == listed


@pytest.mark.parametrize("path", ALL, ids=name)
def test_commands_exist(path):
    commands = shown(path.read_text())
    assert commands
    for line in commands:
        check(line)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


def block(text: str, first_line: str) -> str:
    """The indented block of code that begins with this line, without its indentation."""
    lines = text[text.index(f"    {first_line}") :].splitlines()
    end = next((at for at, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    return "\n".join(line.removeprefix("    ") for line in lines[:end])


def test_recipes_and_plans_are_valid(tmp_path):
    (tmp_path / "my.toml").write_text(block(README, "# my.toml:"))
    assert load_recipe("", tmp_path / "my.toml", []).dataset.columns.item_key == "sku"
    guide = (ROOT / "pipeline" / "README.md").read_text()
    engines = block(guide, "[llm]")
    (tmp_path / "llm.toml").write_text(f'[dataset]\nname = "shop"\ninteractions = "e"\nitems = "i"\n{engines}')
    assert load_recipe("", tmp_path / "llm.toml", []).llm.model == "/models/some-instruct-model"
    for first in ("# shop.toml:", "# sessions.toml:"):
        (tmp_path / "data.toml").write_text(block(DATA.read_text(), first))
        load_recipe("", tmp_path / "data.toml", [])
    plan = tomllib.loads(block(guide, "# study.toml:"))
    assert set(plan["baselines"]) <= plan["variants"].keys()
    for settings in plan["variants"].values():
        load_recipe("ml-100k", None, settings)


def test_the_steps_of_cleaning_are_listed_in_their_order():
    listed = re.findall(r"^\| ([a-z ]+) \| .* \| `cleaning\.", DATA.read_text(), re.MULTILINE)
    assert listed == list(dict.fromkeys(reason.step for reason in Reason if reason.step))


def test_the_readme_is_short_and_its_picture_is_a_picture():
    assert len(README.splitlines()) < 200
    (picture,) = re.findall(r"!\[[^\]]+\]\((\S+\.svg)\)", README)
    root = ElementTree.parse(ROOT / picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg" and root.get("viewBox")
    assert root.findtext(f"{space}title") and root.findtext(f"{space}desc")
    uses = {element.get("href") for element in root.iter(f"{space}use")}
    assert uses <= {f"#{element.get('id')}" for element in root.iter()}
