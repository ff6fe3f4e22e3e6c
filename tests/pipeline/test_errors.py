"""Bad input at the command line: one line with field, value and remedy, exit code 2, the store untouched."""

import os
import resource
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from eimf.store.artifact import Store
from pipeline.cli import run
from pipeline.stages.stage_one import run_esim
from tests import world as planted


def eimf(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(arguments))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def eimf_apart(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    root = Path(__file__).parents[2]
    code = "from pipeline.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def content(root: Path) -> dict[str, bytes]:
    """Every file of a store but the locks, which are no content."""
    files = (path for path in root.rglob("*") if path.is_file() and "locks" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def refused(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and result.stderr.startswith("eimf: "), result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store


def esim(
    folder: Path, store: Store, *settings: str, verb: str = "esim", **options: Any
) -> subprocess.CompletedProcess[str]:
    chosen = [part for setting in [*planted.FAKES, *settings] for part in ("--set", setting)]
    command = partial(eimf_apart, **options) if options else eimf
    return command(verb, "--dataset", str(folder), "--store", str(store.root), *chosen)


USER = {"user_id": "u999", "item_id": "i001", "order": 0}


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (
            [{**USER, "item_id": "gone"}],
            ("item without a row: 1", "'gone', the item table begins with 'i000'", "reject"),
        ),
        ([{"user_id": "u000", "item_id": None, "order": 99}], ("missing id: 1", 'cleaning.bad_rows="reject"')),
        ([{**USER, "order": None}], ("dataset.columns.order", "None is neither a number nor a date", "reject")),
        ("repeat", ("dataset.interactions", "repeated event: 1", "u000", "reject")),
    ],
)
def test_bad_data(tmp_path, store, more, parts):
    raw = planted.world()
    if more == "repeat":
        more = raw.interactions.head(1).to_dicts()
    events = pl.concat([raw.interactions, pl.DataFrame(more, schema=raw.interactions.schema)])
    folder = planted.World(events, raw.items).write(tmp_path / "bad")
    before = content(store.root)
    refused(esim(folder, store), *parts)
    assert content(store.root) == before


def test_ids_that_are_written_otherwise_in_the_two_files(tmp_path, store):
    raw = planted.world()
    number = pl.col("item_id").str.slice(1).cast(pl.Int64)
    floats = raw.interactions.with_columns(number.cast(pl.Float64))
    folder = planted.World(floats, raw.items).write(tmp_path / "text")
    reason = "left after the step 'items': item without a row"
    parts = (reason, "', the item table begins with 'i000'", "dataset.columns.item_key")
    refused(esim(folder, store, "cleaning.bad_rows=reject"), *parts)
    # An integer column that had a gap once is floats, and means the same ids.
    folder = planted.World(floats, raw.items.with_columns(number)).write(tmp_path / "floats")
    assert "removed=0" in esim(folder, store).stdout


def test_files_as_other_programs_write_them(tmp_path, store, world_folder):
    recipe = f"""\ufeff[dataset]
name = "world"
interactions = "{world_folder}/interactions.parquet"
items = "{world_folder}/items.parquet"
"""
    (tmp_path / "bom.toml").write_text(recipe, encoding="utf-8")
    assert eimf("recipe", "--recipe", str(tmp_path / "bom.toml")).returncode == 0
    (tmp_path / "latin.toml").write_text(recipe[1:] + "# é", encoding="latin-1")
    for command in (("recipe", "--recipe"), ("sweep", "--store", str(store.root))):
        refused(eimf(*command, str(tmp_path / "latin.toml")), "latin.toml is not UTF-8", "save it as UTF-8")
    (tmp_path / "my data").mkdir()
    assert '"name": "my-data"' in eimf("recipe", "--dataset", str(tmp_path / "my data")).stdout


def test_stage_one_where_only_stage_two_is_installed(tmp_path, world_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "eimf.data.prepare", raising=False)
    refused(esim(world_folder, Store(tmp_path)), "polars", "not installed here", "run `make esim`")


def test_empty_and_missing_files(tmp_path, store, world_folder):
    before = content(store.root)
    raw = planted.world()
    empty = planted.World(raw.interactions.clear(), raw.items).write(tmp_path / "empty")
    refused(esim(empty, store), "dataset.interactions", "holds no rows", "at least one row")
    none = esim(world_folder, store, "dataset.items=none.parquet")
    refused(none, "dataset.items", "no file or folder", "none.parquet", "give a file, a folder")
    refused(esim(tmp_path / "none", store), "dataset", "neither a known dataset nor a file or folder")
    recipe = eimf("esim", "--recipe", str(tmp_path / "none.toml"), "--store", str(store.root))
    refused(recipe, "recipe", "none.toml", "give the path of a TOML recipe")
    assert content(store.root) == before


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("cluster.cuont=3", ("cluster.cuont", "unknown setting", "'count'")),
        ("clusters.count=3", ("clusters", "unknown setting", "'cluster'")),
        ("cluster.count=0", ("cluster.count", "0", "greater than or equal to 1")),
        ("train.lr=fast", ("train.lr", "'fast'", "number")),
        ("cluster.count=91", ("cluster.count", "91 clusters for 90 users", "set it to 90")),
        ("train.seed=-1", ("train.seed", "-1", "greater than or equal to 0")),
        ("llm.min_interests=9", ("llm", "min_interests=9 is above max_interests=4 in --set; lower it")),
        ("heads.smoothing.item=0.9", ("heads", "add up to 1.1", "; lower one")),
        ("dataset.name=my shop", ("dataset.name", "'my shop' in --set", "letters, digits, '.', '_' and '-' only")),
        ("text.columns=name", ("text.columns", "'name' in --set", 'write a list such as ["a","b"]')),
        ("dataset.columns=x", ("dataset.columns", "'x' in --set", "it is a section")),
        ("model.backbone=bert", ("model.backbone", "'bert'", "use one of dnn")),
        ("model.options.sasrc.layers=3", ("model.options.sasrc", "no backbone", "use one of dnn")),
        ("cluster.seed=3000000000", ("cluster.seed", "less than 2147483648")),
        ("train.epochs=0", ("train.epochs", "0 in --set", "greater than or equal to 1")),
        ("evaluate.cutoffs=[1000000000000]", ("evaluate.cutoffs.0", "less than or equal to 10000")),
        ("evaluate.cutoffs=[]", ("evaluate.cutoffs", "at least 1")),
        ("oops", ("'oops' in --set is not section.key=value",)),
        ("heads=text", ("'heads=text' in --set is not section.key=value",)),
        ('heads.preset=["text"]', ("heads.preset", "text")),
        ("prompt.template=nope", ("prompt.template", "'nope'", "movies, products")),
    ],
)
def test_bad_settings(store, world_folder, setting, parts):
    before = {name for name in content(store.root) if not name.startswith(("dataset", "item_v", "user_v"))}
    refused(esim(world_folder, store, setting), *parts)
    assert {name for name in content(store.root) if not name.startswith(("dataset", "item_v", "user_v"))} == before


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("model.backbone=bert", ("model.backbone", "'bert'", "use one of dnn")),
        ("model.width=33", ("model (sasrec)", "width=33 cannot be shared by heads=2")),
        ("model.options.sasrec.layer=3", ("model.options.sasrec.layer", "unknown option", "'layers'")),
        ("model.options.sasrc.layers=3", ("model.options.sasrc", "no backbone", "use one of dnn")),
        ("model.options.sasrec.layers=0", ("model.options.sasrec.layers", "0", "greater than or equal to 1")),
    ],
)
def test_bad_settings_of_a_backbone(store, world_folder, setting, parts):
    before = content(store.root)
    refused(esim(world_folder, store, setting, verb="train"), *parts)
    assert content(store.root) == before


def test_a_directory_that_is_no_model(tmp_path, store, world_folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    before = content(store.root)
    for folder, reason in (("empty", "no config.json"), ("half", "no safetensors weights"), ("none", "no directory")):
        result = esim(world_folder, store, "llm.backend=vllm", f"llm.model={tmp_path / folder}")
        refused(result, "llm.model", reason, "give the directory of a model with config.json")
    refused(
        esim(world_folder, store, "encoder.backend=vllm", "encoder.model=asset:none"),
        "encoder.model",
        "no asset 'none'",
    )
    refused(
        esim(world_folder, store, "llm.backend=vllm", "llm.model=nobody/nothing"),
        "llm.model",
        "'nobody/nothing'",
        "local directory",
    )
    assert content(store.root) == before


def test_a_store_that_cannot_be_written(tmp_path, world_folder):
    (tmp_path / "file").write_text("")
    result = esim(world_folder, Store(tmp_path / "file" / "store"))
    refused(result, f"store {tmp_path}", "cannot be written", "may write to")


def test_other_peoples_artifacts_and_damaged_ones(tmp_path, store, world_folder):
    other = planted.world(seed=9).write(tmp_path / "other")
    mine = Store(tmp_path / "store")
    key = run_esim(planted.recipe(other), mine)["esim"].key
    run_esim(planted.recipe(world_folder), mine)
    settings = [part for setting in [*planted.FAKES, planted.INTERESTS] for part in ("--set", setting)]
    before = content(mine.root)
    common = ("--dataset", str(world_folder), "--store", str(mine.root), *settings)
    refused(eimf("train", *common, "--esim", key), "esim", key[:12], "was built from dataset")
    refused(eimf("train", *common, "--esim", "0000"), "esim", "'0000'", "eimf status")
    assert content(mine.root) == before
    path = next(path for path in mine.root.glob("esim/*/users.parquet") if key not in str(path))
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    before = content(mine.root)
    refused(eimf("train", *common), "users.parquet", "damaged", "remove", "build it again")
    refused(eimf("verify", "--store", str(mine.root)), "users.parquet", "damaged")
    refused(eimf("verify", "--store", str(tmp_path / "none")), "store", "no folder", "root of a store")
    assert content(mine.root) == before


def test_a_disk_that_takes_no_more_is_one_line(tmp_path, world_folder):
    # Files of 4 KiB at most: what a quota does.
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    store = Store(tmp_path / "store")
    refused(esim(world_folder, store, preexec_fn=limit), "a file: ", "File too large", "make room")
    assert esim(world_folder, store).returncode == 0  # with room again it goes on


def test_a_part_of_the_store_on_another_disk_is_one_line(tmp_path, world_folder):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one disk only")
    with TemporaryDirectory(dir=memory) as elsewhere:
        (tmp_path / "dataset").symlink_to(elsewhere)
        refused(esim(world_folder, Store(tmp_path)), "cross-device", "clear the way")
    refused(esim(world_folder, Store(tmp_path)), "dataset", "clear the way")  # and when that disk is gone


@pytest.mark.parametrize("path", ["~nobody-of-this-name/e.csv", "~\\u0000/e.csv", "a\\u0000b"])
@pytest.mark.parametrize("setting", ["dataset.interactions", "dataset.items", "encoder.model", "prompt.template"])
def test_a_path_that_cannot_be_one(world_folder, store, setting, path):
    others = ["--set", "llm.backend=fake"] + (["--set", "encoder.backend=fake"] if setting != "encoder.model" else [])
    common = ("--dataset", str(world_folder), "--store", str(store.root), *others)
    refused(eimf("esim", *common, "--set", f'{setting}="{path}"'), setting, path[-3:])


def test_places_that_are_none(world_folder, store, tmp_path, monkeypatch):
    monkeypatch.setenv("EIMF_CACHE", "/proc")
    refused(eimf("esim", "--store", str(tmp_path)), "/proc/tmp", "No such file or directory")
    refused(eimf("sweep", ".", "--store", str(store.root)), "plan", "does not end in .toml")
    monkeypatch.delenv("EIMF_CACHE")
    monkeypatch.setattr(Path, "home", lambda: Path("~").expanduser())
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does where there is no home
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    refused(eimf("esim", "--store", str(tmp_path)), "EIMF_CACHE", "no home folder", "name a folder")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    refused(eimf("esim", "--store", str(tmp_path)), "No such file or directory")


def test_a_mistake_in_the_command_line_is_one_line(store):
    refused(eimf("recommend", "0000", "--count", "0"), "--count", "greater than or equal to 1", "recommend --help")
    refused(eimf("train", "--hlep"), "No such option: --hlep")
    refused(eimf("trian"), "No such command 'trian'")
    refused(eimf("export", "0000", "--dataset", "shop"), "a checkpoint together with options of a training")
    for option in ("--rate", "--deadline"):
        refused(eimf("serve", "bundle", option, "inf"), option, "inf is not a finite number", "serve --help")
    refused(eimf("status", "--store", "x" * 5000), "File name too long")
    refused(eimf("recommend", "0000", "--store", str(store.root), "--", "--settings"), "0 artifacts of kind checkpoint")
    assert eimf("--help").returncode == 0 and "Usage" in eimf().stdout
