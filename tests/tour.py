"""Run the tour in a Jupyter kernel, as a reader would: `python -m tests.tour OUTPUT [DATASET [SETTING=VALUE ...]]`.

Prints the seconds of each cell and the memory of the kernel, and writes the notebook with its outputs to the folder
OUTPUT. `tests/pipeline/api/test_tour.py` runs the same cells without a kernel.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat

from pipeline.written_settings import parse_setting

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "pipeline" / "tour.ipynb"


def tour(dataset: str, output: Path, settings: dict[str, Any]) -> nbformat.NotebookNode:
    """The tour with other values in its first cell."""
    notebook = nbformat.read(TOUR, as_version=4)
    (choice,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    values = {"DATASET": dataset, "STORE": str(output / "store"), "OUTPUT": str(output), "SETTINGS": settings}
    choice.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    return notebook


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def run_in_kernel(notebook: nbformat.NotebookNode, output: Path) -> None:
    """Execute all cells; raises CellExecutionError at the first that fails."""
    from nbclient import NotebookClient

    os.environ.update(PYTHONPATH=str(ROOT), IPYTHONDIR=str(output / "ipython"))
    begin: dict[int, float] = {}

    def on_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        begin[cell_index] = time.monotonic()

    def on_executed(cell: nbformat.NotebookNode, cell_index: int, execute_reply: Any) -> None:
        peak = peak_memory(client.km.provisioner.pid)
        print(f"{cell.id:14} {time.monotonic() - begin[cell_index]:6.1f} s, peak so far {peak:,} MB", flush=True)

    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(output)}},
        on_cell_start=on_start,
        on_cell_executed=on_executed,
    )
    try:
        client.execute()
    finally:
        nbformat.write(notebook, output / "tour.ipynb")


def peak_memory(pid: int) -> int:
    """In MB, of one process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = dict(parse_setting(text, "the command line") for text in sys.argv[3:])
    run_in_kernel(tour(sys.argv[2] if len(sys.argv) > 2 else "ml-100k", folder, chosen), folder)
