"""The dependency direction, read from the imports, and what a training node and a server have to have installed."""

import ast
import os
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import world as planted
from tests.pipeline.http import bundles
from tests.pipeline.http.server import START, Server

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "errors": set(),
    "types": set(),
    "npy": set(),
    "schema": {"errors"},
    "vectors": set(),
    "scratch": {"errors"},
    "config": {"types"},
    "store": {"errors", "schema", "npy"},
    "data": {"errors", "schema", "config", "scratch"},
    "esim": {"errors", "schema", "vectors", "config", "store", "data", "scratch"},
    "parallel": set(),
    "losses": {"errors", "config", "parallel"},
    "student_t": set(),
    "statistics": {"student_t"},
    "bootstrap": set(),
    "metrics": set(),
    "retrieval": {"schema"},
    "backbones": {"errors", "types", "config", "parallel"},
    "choice": {"config", "data", "statistics", "errors", "backbones", "semantics"},
    "semantics": {"errors", "schema", "config", "data", "losses", "retrieval", "backbones", "parallel"},
    "train": {"errors", "config", "data", "losses", "backbones", "semantics", "parallel"},
    "evaluation": {
        *("errors", "schema", "data", "statistics", "bootstrap", "metrics", "retrieval", "backbones", "parallel")
    },
    "serving": {"errors", "data", "vectors", "npy"},
    "export": {"errors", "schema", "vectors", "config", "store", "data", "backbones", "choice", "serving"},
}
FLOORS = [
    {
        "buckets",
        "bundles",
        "console",
        "paths",
        "recipe",
        "renamed",
        "histories",
        "missing",
        "ranked",
        "serving",
        "stores",
        "trained",
        "written_settings",
    },
    {"backends"},
    {"training"},
    {"stages"},
    {"report"},
    {"sweeps"},
    {"search"},
    {"http"},
    {"commands"},
    {"cli", "api"},
]
"""Of pipeline/, from the lowest: a module imports from its own floor and lower ones only."""
TRAINING_NODE = {"torch", "numpy", "pyarrow", "pydantic", "safetensors", "typer"}
"""The packages of a training node, by the names of their modules."""
SERVER = {"numpy", "pydantic", "onnxruntime", "faiss", "fastapi", "uvicorn", "prometheus_client", "typer"}
"""Those of a machine that serves bundles."""
WITH_THEM = {"starlette": "fastapi", "h11": "uvicorn", "pydantic_core": "pydantic"}
"""Packages that come with another one, of which they are a part."""


@cache
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


def test_an_engine_is_imported_by_one_module_and_nothing_unpickles():
    for path in [*(ROOT / "eimf").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        packages = {name.split(".")[0] for name in imports(path)}
        assert "vllm" not in packages or path.name == "vllm_engine.py"
        assert "openai" not in packages or path.name == "http_engine.py"
        assert "ray" not in packages or path.name in ("ray_engine.py", "ray_cluster.py")
        assert not packages & {"pickle", "joblib", "dill"}
        assert "torch.load(" not in path.read_text()


def test_the_library_knows_no_clock_and_no_environment_and_does_not_print():
    for path in (ROOT / "eimf").rglob("*.py"):
        clocks = {"time", "typer"} if path.name == "times.py" else {"time", "datetime", "typer"}  # it reads dates
        assert not {name.split(".")[0] for name in imports(path)} & clocks, path
        assert "environ" not in path.read_text(), path
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert "print" not in names, path


# Hides the packages that its first argument names.
HIDING = """
import sys
HIDDEN = set(sys.argv.pop(1).split(","))

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
TRAINING = """
from pipeline.cli import run
for name in ("heads.smoothing.interest=0.1", "calibrate.significance=0.5"):
    assert run([*sys.argv[1:], "--set", name]) == 0
"""


def requirements(extra: str) -> list[Requirement]:
    """What `pip install eimf[extra]` asks for, by pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"][extra]]


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of all distributions that are installed with these."""
    names: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name == "eimf":
            wanted += [need for extra in requirement.extras for need in requirements(extra)]
        if name == "eimf" or name in names:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # needed on another system only
            continue
        names.add(name)
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                wanted.append(need)
    return names


@cache
def hidden(extra: str) -> str:
    """Every installed module that does not come with `eimf[extra]`, for HIDING."""
    allowed = closure(requirements(extra)) | {"eimf"}
    modules = metadata.packages_distributions().items()
    return ",".join(module for module, names in modules if not {canonicalize_name(name) for name in names} & allowed)


@pytest.mark.parametrize(("extra", "modules"), [("train", TRAINING_NODE), ("serve", SERVER)])
def test_an_extra_asks_for_the_packages_of_its_machine(extra, modules):
    installed = metadata.packages_distributions()
    distributions = {canonicalize_name(name) for module in modules for name in installed[module]}
    assert {canonicalize_name(requirement.name) for requirement in requirements(extra)} == distributions
    assert not {"pytest", "polars"} - set(hidden(extra).split(","))


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
    fakes = [setting for setting in planted.FAKES if not setting.startswith("calibrate")]
    settings = [part for setting in fakes for part in ("--set", setting)]
    command = ["train", "--dataset", str(world_folder), "--store", str(ready), *settings, "--set", "train.epochs=1"]
    printed = child(HIDING + TRAINING, hidden("train"), *command)
    assert printed.count("sasrec modern") == 2 and printed.count("beside the model") == 2


FIVE_LINES = """
from eimf.serving import Recommender

model = Recommender.load(sys.argv[1])
for item in model.recommend_one(["i001", "i002"], count=3).items:
    print(item.item_id)
print(*sys.modules)
"""


def test_a_bundle_is_served_with_nothing_else_installed(tmp_path):
    bundle, without = bundles.write(tmp_path / "bundle"), hidden("serve")
    *item_ids, modules = child(HIDING + FIVE_LINES, without, str(bundle)).splitlines()
    assert len(item_ids) == 3 and not {"torch", "pyarrow", "polars"} & set(modules.split())
    with Server(bundle, start=f"{HIDING}{START}", before=[without]) as server:
        assert '"item_id"' in server.get("/items?query=star") and server.get("/openapi.json")


def test_help_loads_no_package_but_that_of_the_command_line():
    modules = child("import sys; from pipeline.cli import run; run(['--help']); print(*sys.modules)").splitlines()[-1]
    loaded = {name.split(".")[0] for name in modules.split()}
    assert not loaded & (TRAINING_NODE | SERVER) - {"typer"}


def third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"eimf", "pipeline"}


def test_serving_names_only_the_packages_of_a_server():
    files = [*(ROOT / "eimf" / "serving").rglob("*.py"), *(ROOT / "pipeline" / "http").rglob("*.py")]
    for path in [*files, ROOT / "pipeline" / "commands" / "serve.py", *(ROOT / "pipeline" / "cli").rglob("*.py")]:
        assert {WITH_THEM.get(name, name) for name in third_party(path)} <= SERVER, path


def test_stage_two_names_only_the_packages_of_a_training_node():
    for name in (
        "train",
        "backbones",
        "semantics",
        "evaluation",
        "losses",
        "metrics.py",
        "statistics.py",
        "student_t.py",
        "bootstrap.py",
        "retrieval.py",
        "store",
        "schema.py",
        "vectors.py",
        "config",
    ):
        module = ROOT / "eimf" / name
        for path in module.rglob("*.py") if module.is_dir() else [module]:
            bucket = {"obstore"} if path.name == "objects.py" else set()  # loaded only for a store in a bucket
            assert third_party(path) <= TRAINING_NODE | bucket, path


def test_a_hit_loads_neither_torch_nor_polars_nor_a_model(ready, world_folder):
    settings = [part for setting in planted.FAKES for part in ("--set", setting)]
    code = "import sys; from pipeline.cli import app; app(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    printed = child(code, "esim", "--dataset", str(world_folder), "--store", str(ready), *settings)
    loaded = {name.split(".")[0] for name in printed.splitlines()[-1].split()}
    assert "0 of 9 stages built" in printed
    assert not loaded & {"torch", "polars", "faiss", "vllm", "transformers"}
