"""The interface does what the commands do: same keys, same errors, same lines, and nothing of its own."""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from html import escape

import pyarrow as pa
import pytest

from eimf.errors import DataError, MissingError, SettingError
from eimf.store.artifact import Store
from pipeline import api
from pipeline.api.call import call
from pipeline.api.display import table_html
from pipeline.console import info
from pipeline.report.tables import Table
from pipeline.stages.resolve import find_or_build_dataset, resolve
from tests import world as planted
from tests.pipeline.api.conftest import SETTINGS


def test_a_training_has_the_key_that_the_command_gives_it(world_folder, known):
    store, overrides = (
        Store(known.folder / "files"),
        ["train.epochs=1", "model.backbone=gru4rec", "heads.preset=plain", "train.lr=4e-3"],
    )
    data = api.load_dataset(world_folder, store=store, settings=SETTINGS, progress=False)
    of_command = planted.recipe(world_folder, *overrides)
    assert data.artifact.key == find_or_build_dataset(of_command, store).key
    nested = api.fit(data, preset="plain", settings={"train": {"lr": 4e-3}}, progress=False)
    assert nested.result.checkpoint.key == resolve(of_command, store).checkpoint_key


def test_the_same_rows_are_the_same_dataset_in_whatever_table(known):
    world, keys = planted.world(), set()
    shared = {"store": known.folder / "kinds", "settings": SETTINGS, "progress": False}
    for convert in (lambda frame: frame, lambda frame: frame.to_arrow(), lambda frame: frame.to_pandas()):
        keys.add(api.load_dataset(convert(world.interactions), convert(world.items), **shared).artifact.key)
    assert keys == {known.data.artifact.key}
    assert len(list((known.folder / "kinds" / "tables").iterdir())) == 1


def test_events_are_those_that_were_given(known):
    given = planted.world().interactions.sort("user_id", "order").select("user_id", "item_id").rows()
    events = known.data.events.to_pydict()
    assert list(zip(events["user_id"], events["item_id"], strict=True)) == given


def test_a_call_prints_what_its_command_prints_or_nothing(known, capsys):
    api.fit(known.data, preset="plain")
    assert "hit    11 checkpoint" in capsys.readouterr().out
    api.fit(known.data, preset="plain", progress=False)
    assert capsys.readouterr().out == ""
    info("audible again")
    assert capsys.readouterr().out == "audible again\n"


@pytest.mark.parametrize(
    ("attempt", "line"),
    [
        (lambda known: api.fit(known.data, settings={"train.lrr": 1}), "train.lrr: unknown setting in settings; use"),
        (lambda known: api.fit(known.data, settings={"lr": 1}), "set: 'lr' in settings is not section.key; write it"),
        (
            lambda known: api.fit(known.data, seed=1, settings={"train": {"seed": 2}}),
            "train.seed: given as a keyword and in settings; give one of them",
        ),
        (lambda known: api.load_dataset(3.5), "source: float is neither a name, nor a path, nor a table; give"),
        (lambda known: api.load_dataset("nowhere"), "dataset: 'nowhere' is neither a known dataset nor a file"),
        (lambda known: api.load_dataset("ml-100k", pa.table({})), "items: a table of items, but the events are no"),
        (lambda known: api.recommend(known.plain, ["i001"], user="u001"), "recommend: a history and a user; give"),
        (lambda known: api.recommend(known.plain, user="nobody"), "--user: 'nobody' is no user of the dataset; give"),
        (lambda known: api.sweep("plan.toml", {"plain": {}}), "variants: given together with the file of a plan"),
        (lambda known: api.sweep(known.data, {}), "plan.variants: {} in the call is not allowed"),
    ],
)  # fmt: skip
def test_an_error_is_one_line(known, attempt, line):
    with pytest.raises((SettingError, DataError)) as caught:
        attempt(known)
    assert str(caught.value).startswith(line)
    assert caught.value._render_traceback_() == [f"{type(caught.value).__name__}: {caught.value}"]


def test_a_package_that_is_missing_is_named_with_its_extra():
    with pytest.raises(MissingError, match=r"^onnx: not installed .* pip install -e '.\[export\]'$"), call("export"):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
    with pytest.raises(ModuleNotFoundError, match="theirs"), call("export"):
        raise ModuleNotFoundError("theirs", name="theirs")


def test_an_interrupted_training_leaves_the_store_whole_and_resumes(known):
    class Interrupting(io.StringIO):
        def write(self, text: str) -> int:
            if "epoch 1," in text:
                raise KeyboardInterrupt
            return super().write(text)

    store, longer = known.data.store, {"train.epochs": 2, "train.lr": 2e-3}
    before = store.listing()
    with pytest.raises(KeyboardInterrupt), redirect_stdout(Interrupting()):
        api.fit(known.data, preset="plain", settings=longer)
    assert store.listing() == before
    with redirect_stdout(io.StringIO()) as printed:
        resumed = api.fit(known.data, preset="plain", settings=longer)
    assert "resuming after epoch 1" in printed.getvalue() and resumed.epochs["epoch"].to_pylist() == [1, 2]


def test_a_recommendation_has_the_items_that_every_user_gets(known):
    everybody = api.recommend(known.plain, count=4, progress=False).to_pylist()
    one = api.recommend(known.plain, user="u007", count=4, progress=False)
    assert [row["item_id"] for row in everybody if row["user_id"] == "u007"] == one["item_id"].to_pylist()
    assert one["rank"].to_pylist() == [1, 2, 3, 4] and all(one["title"].to_pylist())


def test_a_notebook_shows_tables_and_never_runs_what_is_in_them(known):
    for shown in (known.data, known.interests, known.plain):
        assert "<table>" in shown._repr_html_() and escape(repr(shown).split("\n")[0]) in shown._repr_html_()
    assert "<script>" not in table_html(Table("<script>", ("<script>",), (("<script>", ("<script>",)),)))


def test_the_interface_loads_neither_torch_nor_polars_nor_a_model():
    code = "import sys; from pipeline import api; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in printed.split()}
    assert "pyarrow" in loaded and not loaded & {"torch", "polars", "pandas", "faiss", "vllm", "transformers", "onnx"}


def test_a_process_that_is_spawned_does_not_run_the_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from multiprocessing import get_context\n"
        "from pipeline.backends.main_module import without_main_module\n"
        "print('run')\n"
        "process = get_context('spawn').Process(target=print, args=('child',))\n"
        "with without_main_module():\n"
        "    process.start()\n"
        "process.join()\n"
        "print(process.exitcode, __import__('sys').modules['__main__'].__file__ == __file__)\n"
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert sorted(result.stdout.split("\n")) == ["", "0 True", "child", "run"], result.stderr
