"""The notebook runs from its first cell to its last, in a kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from eimf.store.artifact import Store
from pipeline import api
from tests.pipeline.api.conftest import SETTINGS, finish

ROOT = Path(__file__).parents[3]
TOUR = ROOT / "pipeline" / "tour.ipynb"
VARIANTS = {"plain": {"heads.preset": "plain"}, "modern": {"heads.preset": "modern"}}
"""Those of the notebook."""


def test_the_notebook_in_git_has_no_outputs():
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs(world_folder, tmp_path, monkeypatch):
    data = api.load_dataset(world_folder, store=Store(tmp_path / "other"), settings=SETTINGS, progress=False)
    # Its sweep finds all trials finished: other tests start the processes of one.
    finish(api.infer_interests(data, progress=False).data, VARIANTS, [1, 2], ["plain"], tmp_path / "tour" / "sweep")
    notebook = nbformat.read(TOUR, as_version=4)
    (choice,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
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
    assert (tmp_path / "tour" / "report.html").is_file() and (tmp_path / "tour" / "bundle" / "bundle.json").is_file()
