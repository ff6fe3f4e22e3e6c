import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel, create_model

from eimf import config
from eimf.backbones.build import model_configuration
from eimf.config import CalibrateSettings, HeadSettings, ModelSettings, TrainSettings
from eimf.data.times import seconds_of
from eimf.errors import SettingError
from pipeline.recipe import Recipe, built_in_recipes, load_recipe
from pipeline.renamed import RENAMED, RENAMED_IN_0_4
from pipeline.sweeps.plan import read_plan
from tests.settings_read import sources_of, unread

ROOT = Path(__file__).parents[2]


def settings_classes() -> list[type[BaseModel]]:
    kinds = [value for value in vars(config).values() if inspect.isclass(value) and issubclass(value, BaseModel)]
    return [kind for kind in kinds if kind.__module__.startswith("eimf.config.") and kind.model_fields]


SOURCES = sources_of(ROOT / "eimf", ROOT / "pipeline")


@pytest.mark.parametrize("kind", settings_classes(), ids=lambda kind: kind.__name__)
def test_every_setting_is_documented(kind):
    for name, field in kind.model_fields.items():
        assert field.description, f"{kind.__name__}.{name} has no docstring"


def test_every_setting_is_read_and_one_that_is_not_is_noticed_though_others_of_its_name_are():
    names = {"count", "seed", "share", "width", "model", "items"}
    kinds = settings_classes()
    assert names <= {name for kind in kinds for name in kind.model_fields}
    dead = {kind: dict.fromkeys(names - kind.model_fields.keys(), (int, 1)) for kind in kinds}
    with_dead = [create_model(kind.__name__, __base__=kind, **fields) for kind, fields in dead.items()]
    wanted = {f"{kind.__name__}.{name}" for kind, fields in dead.items() for name in fields}
    assert unread([*with_dead, Recipe], SOURCES) == wanted


def test_a_setting_counts_as_read_by_its_type():
    class Inner(BaseModel):
        count: int = 1
        seed: int = 1

        @property
        def twice(self) -> int:
            return 2 * self.seed

        def configuration(self) -> dict[str, int]:
            return {"seed": self.seed}

    class Outer(BaseModel):
        inner: Inner | None = None
        other: Inner = Inner()
        seed: int = 1

    sources = [inspect.cleandoc(text) for text in (SETTINGS, "def f(text: str): return text.count('x')")]
    kinds = [Inner, Outer]
    every = {"Inner.count", "Inner.seed", "Outer.seed"}
    assert unread(kinds, sources) == every
    for code, read in (
        ("def f(outer: Outer): return outer.seed", "Outer.seed"),
        ("def f(outer: Outer): return outer.inner.count", "Inner.count"),
        ("def f(x: Outer):\n    a, b = 1, x.other\n    return b.count + x.count", "Inner.count"),
        (
            "class Job:\n    def __init__(self, s: 'Inner'): self.s = s\n    def g(self): return self.s.count",
            "Inner.count",
        ),
        ("def f(inner: Inner | None): return inner.twice", "Inner.seed"),
        ("def f(inner: Inner): return inner.configuration()", ""),
    ):
        assert unread(kinds, [*sources, code]) == every - {read}, code


SETTINGS = """
    class Inner:
        @property
        def twice(self): return 2 * self.seed
        def configuration(self): return {"seed": self.seed}
"""


def test_speed_and_answer_are_different_types():
    kinds = {name: field.annotation for name, field in Recipe.model_fields.items() if name != "folder"}
    assert kinds.pop("runtime") is config.RuntimeSettings
    assert all(issubclass(kind, config.HashedSettings) for kind in kinds.values())


@pytest.mark.parametrize("name", built_in_recipes())
def test_built_in_recipes_load(name):
    assert load_recipe(name, None, []).dataset.name == name


def test_overrides_are_toml_values_or_plain_text(tmp_path):
    recipe = load_recipe(
        "ml-100k",
        None,
        ["train.lr=5e-4", "evaluate.cutoffs=[1, 2]", "model.backbone=comirec-sa", "model.options.sasrec.layers=3"],
    )
    assert (recipe.train.lr, recipe.evaluate.cutoffs, recipe.model.backbone) == (5e-4, (1, 2), "comirec-sa")
    assert recipe.model.options["sasrec"]["layers"] == 3


@pytest.mark.parametrize("time", ["2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00"])
def test_a_date_of_toml_is_the_date_that_its_text_is(time):
    """Without quotes TOML has dates of its own; the key of a dataset has to be the same."""
    since = [load_recipe("ml-100k", None, [f"cleaning.since={value}"]).cleaning.since for value in (time, f'"{time}"')]
    assert since == [time, time]


def test_a_checkpoint_does_not_depend_on_settings_of_other_backbones():
    settings = load_recipe("ml-100k", None, ["model.backbone=comirec-sa", "model.options.sasrec.layers=3"]).model
    assert model_configuration(settings)["options"] == {"comirec-sa": {"interests": 4, "hidden": 256}}


def test_a_backbone_has_a_dropout_of_its_own_until_one_is_set():
    dropout = {
        name: model_configuration(ModelSettings(backbone=name, dropout=asked))["dropout"]
        for name, asked in (("sasrec", None), ("bert4rec", None), ("gru4rec", 0.1))
    }
    assert dropout == {"sasrec": 0.5, "bert4rec": 0.2, "gru4rec": 0.1}
    # The checkpoint is keyed by the number: named or not, it is one training.
    assert model_configuration(ModelSettings(dropout=0.5)) == model_configuration(ModelSettings())


def test_paths_start_at_the_recipes_folder_and_a_broken_recipe_is_named(tmp_path):
    (tmp_path / "r.toml").write_text('[dataset]\nname = "x"\ninteractions = "e.parquet"\nitems = "i.parquet"\n')
    assert load_recipe("ml-100k", tmp_path / "r.toml", []).folder == tmp_path
    (tmp_path / "r.toml").write_text("[dataset\n")
    with pytest.raises(SettingError, match="is not TOML"):
        load_recipe("ml-100k", tmp_path / "r.toml", [])
    (tmp_path / "r.toml").write_text('[dataset]\nitems = "i.parquet"\n')
    with pytest.raises(SettingError, match=r"dataset\.name: missing"):
        load_recipe("ml-100k", tmp_path / "r.toml", [])


def heads(*overrides: str) -> HeadSettings:
    return load_recipe("ml-100k", None, [f"heads.{override}" for override in overrides]).heads


def test_label_smoothing_leaves_something_to_the_target():
    with pytest.raises(SettingError, match=r"heads\.smoothing: its parts add up to 1\.1 in --set; lower"):
        heads("preset=plain", "smoothing.item=0.6", "smoothing.cooccurrence=0.5")


def test_an_override_replaces_one_value_of_a_preset_in_any_order(tmp_path):
    # the preset has .4 and .2
    wanted = {"item": 0.1, "user": 0.2, "interest": 0.0, "cooccurrence": 0.0, "pick": 0.0}
    overrides = ["preset=text", "smoothing.item=0.1"]
    (tmp_path / "r.toml").write_text(HEAD + '[heads]\npreset = "text"\n[heads.smoothing]\nitem = 0.1\n')
    in_file = load_recipe("", tmp_path / "r.toml", []).heads
    for settings in (heads(*overrides), heads(*reversed(overrides)), in_file):
        assert settings.smoothing.model_dump() == wanted and settings.item_init == "text_residual"


def test_none_and_zeros_turn_a_group_off(tmp_path):
    (tmp_path / "r.toml").write_text(HEAD + "[heads.smoothing]\nitem = 0.1\n")
    over_the_file = load_recipe("", tmp_path / "r.toml", ["heads.preset=text", "heads.smoothing=none"]).heads
    none = heads("preset=text", "smoothing=none")
    assert none.smoothing is None and none == over_the_file
    assert none.configuration() == heads("preset=text", "smoothing.item=0", "smoothing.user=0").configuration()
    assert heads("preset=paper", "alignment=none").configuration() == heads("preset=plain").configuration()
    for pair in (["smoothing=none", "smoothing.item=0.1"], ["smoothing.item=0.1", "smoothing=none"]):
        with pytest.raises(SettingError, match=r"heads\.smoothing: set in --set as a whole and in part.*; write one"):
            heads(*pair)
    for off in ("None", "off", "false", "0"):
        with pytest.raises(
            SettingError, match=r"heads\.smoothing: .* is not allowed in --set; write none to turn it off"
        ):
            heads(f"smoothing={off}")


@pytest.mark.parametrize(
    ("preset", "source"),
    [
        ("plain", None),
        ("init", "item_vectors"),
        ("text", "item_vectors"),
        ("paper", "esim"),
        ("modern", "item_vectors"),
    ],
)
def test_a_preset_is_keyed_by_what_it_sets_and_reads_what_it_needs(preset, source):
    settings = HeadSettings(preset=preset)
    spelled_out = settings.model_dump(exclude={"preset"})
    assert HeadSettings(preset="plain", **spelled_out).configuration() == settings.configuration()
    assert settings.source == source and settings.plain == (source is None)
    assert settings.overrides() == {}


def test_cooccurrence_reads_no_text_and_at_zero_no_key_knows_it():
    alone = HeadSettings(preset="plain", smoothing={"cooccurrence": 0.2})
    assert alone.source is None and alone.reads == ("dataset",) and not alone.plain
    assert alone.overrides() == {"smoothing.cooccurrence": 0.2}
    assert alone.configuration()["smoothing"] == {"item": 0.0, "user": 0.0, "interest": 0.0, "cooccurrence": 0.2}
    assert HeadSettings(preset="text", smoothing={"cooccurrence": 0.2}).source == "item_vectors"
    assert HeadSettings(preset="text").configuration() == {
        "item_init": "text_residual",
        "smoothing": {"item": 0.4, "user": 0.2, "interest": 0.0},
        "alignment": None,
        "control": "llm",
    }


def test_how_texts_are_compared_is_in_the_key_only_if_a_training_reads_it():
    usual = heads("preset=text").configuration()
    assert "texts" not in usual and "texts" not in heads("preset=modern").configuration()
    assert heads("preset=text", "texts.components=7", "texts.align=true").configuration() == usual
    changes = [
        ("texts.compare=centered",),
        ("texts.compare=whitened",),
        ("texts.compare=whitened", "texts.components=7"),
        ('texts.use=["encoder", "lexical"]',),
    ]
    keys = [heads("preset=text", *change).configuration() for change in changes]
    assert all(key != usual and not any(key == other for other in keys[:n]) for n, key in enumerate(keys))
    for not_read in (
        ("preset=plain", "texts.compare=whitened", 'texts.use=["lexical"]'),
        ("preset=init", "texts.compare=whitened"),  # compares nothing
        ("preset=paper", "texts.compare=whitened", 'texts.use=["lexical"]'),  # aligns raw texts
    ):
        assert heads(*not_read).configuration() == heads(not_read[0]).configuration()
    assert heads("preset=paper", "texts.compare=whitened", "texts.align=true").configuration()["texts"]["align"]
    assert heads("preset=text", 'texts.use=["encoder", "lexical"]').overrides() == {"texts.use": "encoder+lexical"}
    with pytest.raises(SettingError, match=r"heads\.texts.*names one twice"):
        heads('texts.use=["lexical", "lexical"]')


def test_modern_is_trained_as_text_and_calibrated():
    assert HeadSettings(preset="modern").configuration() == HeadSettings(preset="text").configuration()
    usual, none = CalibrateSettings(), CalibrateSettings(sources=[])
    assert usual.of_preset("modern").sources == ("popularity", "lifecycle", "cooccurrence", "text", "interests")
    assert usual.of_preset("modern").source == "esim"
    for preset in ("plain", "init", "text", "paper"):
        assert usual.of_preset(preset).sources == () and usual.of_preset(preset).source is None
    assert none.of_preset("modern").sources == ()  # what is written out replaces the preset's


def test_a_control_needs_interests_to_replace():
    with pytest.raises(SettingError, match=r"heads: control=titles stands for interests.*; leave it out, or set heads"):
        heads("preset=text", "control=titles")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("heads.smooth_text=0.1", "heads.smooth_text: .*; renamed in 0.2: use heads.smoothing.item"),
        ("heads.gate=false", "heads.gate: .*; removed in 0.5: calibration weighs the interests"),
        ("heads.require_gain=false", "heads.require_gain: .*; removed in 0.5: .* heads.smoothing.interest=0.1 trains"),
        ("heads.neighbours=9", "heads.neighbours: .*; leave it out: it is a constant since 0.2"),
        ("speed.loss_rows=1", "speed: .*; renamed in 0.2: use runtime.softmax_block_rows"),
        ("speed.threads=1", "speed: .*; renamed in 0.2: use runtime"),
        ("typical.min_history=1", "typical: .*; renamed in 0.2: use cluster.min_typical_history"),
        ("dataset.bad_rows=reject", "dataset.bad_rows: .*; renamed in 0.4: use cleaning.bad_rows"),
        ("dataset.min_events=5", "dataset.min_events: .*; renamed in 0.4: use cleaning.min_events"),
        ("train.context=1", "train.context: .*; renamed in 0.2: use train.window_overlap"),
        (
            "heads.smoothing.items=1",
            r"heads.smoothing.items: .*; use one of \['cooccurrence', 'interest', 'item', 'pick', 'user'\]",
        ),
    ],
)
def test_an_old_name_says_what_to_write(override, hint):
    with pytest.raises(SettingError, match=hint):
        load_recipe("ml-100k", None, [override])


@pytest.mark.parametrize("date", ["2026-03-01", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00+02:00"])
def test_a_date_may_be_written_without_quotes(date, tmp_path):
    (tmp_path / "r.toml").write_text(f'dataset = {{name = "x"}}\nsplit = {{test_from = {date}}}\n')
    bare, quoted = (load_recipe("ml-100k", None, [f"split.test_from={text}"]) for text in (date, f'"{date}"'))
    assert seconds_of(load_recipe("", tmp_path / "r.toml", []).split.test_from, "") == seconds_of(date, "")
    assert seconds_of(bare.split.test_from, "") == seconds_of(quoted.split.test_from, "") == seconds_of(date, "")


def test_every_renamed_setting_exists_under_its_new_name():
    for name in (RENAMED | RENAMED_IN_0_4).values():
        settings = load_recipe("ml-100k", None, ["heads.preset=paper", "heads.smoothing.item=0.1"])
        for part in name.split("."):
            settings = getattr(settings, part)


def test_a_loss_is_keyed_by_the_settings_that_it_reads():
    key = {loss: TrainSettings(loss=loss).configuration() for loss in ("softmax", "sampled", "gbce")}
    assert TrainSettings(negatives=7, calibration=0.1).configuration() == key["softmax"]
    assert TrainSettings(loss="sampled", calibration=0.1).configuration() == key["sampled"]
    assert TrainSettings(loss="sampled", negatives=7).configuration() != key["sampled"]
    assert TrainSettings(loss="gbce", calibration=0.1).configuration() != key["gbce"]


HEAD = '[dataset]\nname = "x"\ninteractions = "e.csv"\nitems = "i.csv"\n'
DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (HEAD + f"[train]\nseed = {'9' * 5000}", "recipe: .* cannot be read .*4300 digits.*; write smaller numbers"),
        (HEAD + f"[model]\nwidth = {DEEP}", "recipe: .* nests more than 16 lists or tables"),
        (HEAD + f"[model.options.dnn]\nx = {'[' * 300 + ']' * 300}", "recipe: .* nests more than 16 lists"),
        (HEAD + f"[{'.'.join('a' * 100)}]\nx = 1", "recipe: .* nests more than 16 lists"),
        (HEAD + 'folder = "elsewhere"', r"dataset\.folder: unknown setting"),
        ('folder = "elsewhere"\n' + HEAD, "folder: unknown setting in .*r.toml"),
        (HEAD.replace('"x"', f'"{"x" * 65}"'), r"dataset\.name: .*at most 64"),
    ],
    ids=["digits", "depth", "lists", "tables", "in a section", "at the top", "name"],
)
def test_a_hostile_recipe_is_one_error(tmp_path, text, match):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(SettingError, match=match):
        load_recipe("", tmp_path / "r.toml", [])
    # A plan goes the same way, up to what its fields are called.
    if "dataset" not in match and "unknown" not in match:
        with pytest.raises(SettingError, match=match.replace("recipe", "plan", 1)):
            read_plan(tmp_path / "r.toml")


@pytest.mark.parametrize("value", ["9" * 5000, DEEP, "[" * 300 + "]" * 300], ids=["digits", "depth", "lists"])
def test_a_hostile_setting_is_one_error(value):
    with pytest.raises(SettingError, match=r"train\.seed: "):
        load_recipe("ml-100k", None, [f"train.seed={value}"])


def test_a_setting_that_is_no_utf_8_is_one_error():
    # As Python hands on the byte 0x80 of a command line.
    for setting in ("dataset.columns.user=\udc80", "\udc80.x=1", "\udc80"):
        with pytest.raises(SettingError, match=r"set: '.*\\udc80.*' in --set is not UTF-8"):
            load_recipe("ml-100k", None, [setting])


def test_names_of_files_that_cannot_be_are_not_there():
    long = "x" * 5000
    with pytest.raises(SettingError, match=r"recipe: no file x.*; give the path of a TOML recipe"):
        load_recipe("", Path(long), [])
    with pytest.raises(SettingError, match="is neither a known dataset nor a file or folder; use one of"):
        load_recipe(long, None, [])
    with pytest.raises(SettingError, match="plan: no file"):
        read_plan(Path(f"{long}.toml"))
    with pytest.raises(SettingError, match="folder: unknown setting in --set"):
        load_recipe("ml-100k", None, ["folder.x=1"])


def dataset_of(path: Path) -> tuple[dict[str, str], Path]:
    """The name and files of the dataset that a path becomes, and where they start."""
    recipe = load_recipe(str(path), None, [])
    return recipe.dataset.model_dump(
        include={"name", "path", "interactions", "items"}, exclude_none=True
    ), recipe.folder


def test_a_dataset_is_a_folder_an_archive_or_a_file(tmp_path, monkeypatch):
    folder = tmp_path / "my data"
    folder.mkdir()
    both = {"name": "my-data", "interactions": "interactions.parquet", "items": "items.parquet"}
    assert dataset_of(folder) == (both, folder)  # the raw data may be gone
    (folder / "items.parquet").touch()
    assert dataset_of(folder)[0] == {"name": "my-data", "path": "."}
    (folder / "interactions.parquet").touch()
    assert dataset_of(folder) == (both, folder)
    (folder / "items.parquet").unlink()
    assert dataset_of(folder)[0] == {"name": "my-data", "interactions": "interactions.parquet"}
    for file, name in {"ml-1m.zip": "ml-1m", "sales.csv.gz": "sales", "yelp.tar": "yelp"}.items():
        (folder / file).touch()
        assert dataset_of(folder / file) == ({"name": name, "path": file}, folder)
    in_zip = ({"name": "ratings", "path": "ml-1m.zip/ml/ratings.dat"}, folder)
    assert dataset_of(folder / "ml-1m.zip/ml/ratings.dat") == in_zip
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dataset_of(Path("ml-1m.zip")) == dataset_of(Path("~/my data/ml-1m.zip")) == dataset_of(folder / "ml-1m.zip")
    assert dataset_of(Path("../my data")) == dataset_of(folder)


@pytest.mark.parametrize("path", ["none", "none.zip/x.csv", "~nobody/x", "a\0b", "x" * 300 + ".zip/y", "x/" * 3000])
def test_a_path_that_is_not_there_says_what_is_possible(path):
    hint = r"use one of \['ml-100k'\], or a folder, zip or file of a format: `eimf data formats` lists them"
    with pytest.raises(SettingError, match=f"dataset: .* is neither a known dataset nor a file or folder; {hint}"):
        load_recipe(path, None, [])


def test_a_folder_of_a_long_name_gives_its_data_a_shorter_one(tmp_path):
    (tmp_path / ("d" * 200)).mkdir()
    assert load_recipe(str(tmp_path / ("d" * 200)), None, []).dataset.name == "d" * 64
