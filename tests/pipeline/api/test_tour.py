"""The notebook runs in a kernel, without its `long` cells: `sweep` and `export` have tests of their own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pipeline.api.conftest import SETTINGS

ROOT = Path(__file__).parents[3]
TOUR = ROOT / "pipeline" / "tour.ipynb"


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def test_the_notebook_in_git_has_no_outputs():
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs(world_folder, tmp_path, monkeypatch):
    notebook = nbformat.read(TOUR, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "long" not in tags(cell)]
    (choice,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    values = {"DATASET": str(world_folder), "STORE": str(tmp_path / "store"), "OUTPUT": str(tmp_path / "tour")}
    values["SETTINGS"] = SETTINGS
    choice.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    for name, value in {"PYTHONPATH": ROOT, "IPYTHONDIR": tmp_path, "JUPYTER_RUNTIME_DIR": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = {
        cell.id: "".join(output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result")
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert shown["load-it"].startswith("Dataset 'world': 90 users") and "gru4rec plain" in shown["fit-plain"]
    assert "B - A" in shown["compare-it"] and (tmp_path / "tour" / "report.html").is_file()
