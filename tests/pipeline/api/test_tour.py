"""The cells of the notebook run, in this process and without the `long` ones: `sweep` and `export` have tests of their
own. `python -m tests.tour` runs all of them in a kernel."""

import ast
import io
from contextlib import redirect_stdout
from typing import Any

import nbformat

from tests.pipeline.api.conftest import SETTINGS
from tests.tour import TOUR, tags, tour


def run(source: str, names: dict[str, Any]) -> object:
    """What a kernel shows of a cell: the value of its last expression."""
    *statements, last = ast.parse(source).body
    exec(compile(ast.Module(statements, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return exec(compile(ast.Module([last], []), "cell", "exec"), names)


def test_the_notebook_in_git_has_no_outputs():
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)


def test_the_notebook_runs(world_folder, tmp_path):
    cells = [cell for cell in tour(str(world_folder), tmp_path, SETTINGS).cells if cell.cell_type == "code"]
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()):
        shown = {cell.id: run(cell.source, names) for cell in cells if "long" not in tags(cell)}
    assert repr(shown["load-it"]).startswith("Dataset 'world': 90 users")
    assert "gru4rec plain" in repr(shown["fit-plain"]) and "gru4rec modern" in repr(shown["fit-modern"])
    assert "B - A" in repr(shown["compare-it"]) and "by Holm" in shown["compare-it"]._repr_html_()
    assert (tmp_path / "report.html").is_file()
