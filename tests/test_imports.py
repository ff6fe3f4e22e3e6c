"""The dependency direction, read from the imports, and what a training node has to have installed."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests import world as planted

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "errors": set(),
    "types": set(),
    "schema": {"errors"},
    "vectors": set(),
    "config": {"types"},
    "store": {"errors", "schema"},
    "data": {"errors", "schema"},
    "esim": {"errors", "schema", "vectors", "store"},
    "losses": {"errors", "config"},
    "metrics": set(),
    "retrieval": {"schema"},
    "backbones": {"errors", "types", "config"},
    "semantics": {"errors", "schema", "config", "data", "losses", "metrics", "retrieval", "backbones"},
    "train": {"errors", "config", "data", "losses", "backbones", "semantics"},
    "evaluation": {"errors", "schema", "data", "metrics", "retrieval", "backbones", "train"},
    "serving": {"errors", "config", "data", "retrieval", "backbones"},
    "export": {"schema", "serving"},
}
FLOORS = [
    {"console", "recipe", "renamed", "serving"},
    {"backends"},
    {"training"},
    {"stages"},
    {"report"},
    {"sweeps"},
    {"commands"},
    {"cli", "cli_options", "cli_help", "cli_examples"},
]
"""Of pipeline/, from the lowest: a module imports from its own floor and lower ones only."""
TRAINING_NODE = {"torch", "numpy", "pyarrow", "pydantic", "safetensors", "typer"}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts(names: set[str]) -> set[str]:
    """First part below eimf of each import."""
    return {name.split(".")[1] for name in names if name.startswith("eimf.")}


@pytest.mark.parametrize("path", sorted((ROOT / "eimf").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_downwards_only(path):
    room = path.relative_to(ROOT / "eimf").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    names = imports(path)
    assert not any(name.split(".")[0] in ("pipeline", "tests") for name in names)
    assert parts(names) - {room} <= ALLOWED[room]


def test_no_allowed_import_is_unused():
    for room, allowed in ALLOWED.items():
        folder = ROOT / "eimf" / room
        paths = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
        assert parts({name for path in paths for name in imports(path)}) - {room} == allowed, room


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


@pytest.mark.parametrize("path", sorted((ROOT / "pipeline").rglob("*.py")), ids=str)
def test_orchestration_imports_downwards_only(path):
    room = path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    used = {name.split(".")[1] for name in imports(path) if name.startswith("pipeline.")}
    assert all(floor(name) <= floor(room) for name in used), used


def test_no_module_imports_itself_by_way_of_others():
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for folder in ("eimf", "pipeline")
        for path in (ROOT / folder).rglob("*.py")
    }
    graph = {
        name: {m for i in imports(path) for m in (i, i.rpartition(".")[0]) if m in modules}
        for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()


def test_vllm_is_imported_by_one_module_and_nothing_unpickles():
    for path in [*(ROOT / "eimf").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        packages = {name.split(".")[0] for name in imports(path)}
        assert "vllm" not in packages or path.name == "vllm_engine.py"
        assert not packages & {"pickle", "joblib", "dill"}
        assert "torch.load(" not in path.read_text()


def test_the_library_knows_no_clock_and_no_environment_and_does_not_print():
    for path in (ROOT / "eimf").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"time", "datetime", "typer"}, path
        assert "environ" not in path.read_text() and "print(" not in path.read_text(), path


# Hides every package that this project could import in addition to those of a training node.
BLOCKED = """
import sys
FORBIDDEN = {
    "polars", "faiss", "vllm", "transformers", "huggingface_hub", "tokenizers", "pandas", "scipy", "tqdm", "hypothesis",
    "pytest", "gguf", "accelerate",
}

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in FORBIDDEN else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from pipeline.cli import run
for required in ("false", "true"):
    assert run([*sys.argv[1:], "--set", f"heads.require_gain={required}"]) == 0
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory, world_folder) -> Path:
    """The root of a store after stage one."""
    from eimf.store.artifact import Store
    from pipeline.stages.stage_one import run_esim

    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store.root


def child(code: str, *arguments: str) -> str:
    """What a new process prints that runs `code`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_training_runs_with_nothing_else_installed(ready, world_folder):
    settings = [part for setting in planted.FAKES for part in ("--set", setting)]
    command = ["train", "--dataset", str(world_folder), "--store", str(ready), *settings, "--set", "train.epochs=1"]
    assert child(BLOCKED, *command).count("sasrec modern") == 2  # without the gain test, and with it


def third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"eimf", "pipeline"}


def test_stage_two_names_only_the_packages_of_a_training_node():
    for name in (
        "train",
        "backbones",
        "semantics",
        "evaluation",
        "serving",
        "losses",
        "metrics.py",
        "retrieval.py",
        "store",
        "schema.py",
        "vectors.py",
        "config",
    ):
        module = ROOT / "eimf" / name
        for path in module.rglob("*.py") if module.is_dir() else [module]:
            assert third_party(path) <= TRAINING_NODE, path


def test_a_hit_loads_neither_torch_nor_polars_nor_a_model(ready, world_folder):
    settings = [part for setting in planted.FAKES for part in ("--set", setting)]
    code = "import sys; from pipeline.cli import app; app(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    printed = child(code, "esim", "--dataset", str(world_folder), "--store", str(ready), *settings)
    loaded = {name.split(".")[0] for name in printed.splitlines()[-1].split()}
    assert "0 of 9 stages built" in printed
    assert not loaded & {"torch", "polars", "faiss", "vllm", "transformers"}
