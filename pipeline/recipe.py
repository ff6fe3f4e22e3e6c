"""A recipe: every setting of one dataset and its training, from one TOML file."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from eimf.config import (
    AdaptSettings,
    CalibrateSettings,
    CleaningSettings,
    ClusterSettings,
    DatasetSettings,
    EncoderSettings,
    EvaluateSettings,
    ExtendSettings,
    HeadSettings,
    ItemKnowledgeSettings,
    LLMSettings,
    ModelSettings,
    PickSettings,
    PromptSettings,
    RuntimeSettings,
    SplitSettings,
    TextSettings,
    TrainSettings,
)
from eimf.data.archive import data_name, split_archive
from eimf.errors import SettingError, describe_validation_error
from pipeline.paths import local_path, path_is
from pipeline.renamed import renamed_hint
from pipeline.written_settings import Setting, parse_setting, parse_toml, read_toml

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'"
_SETTING = re.compile(rf"(?:\[(?:{_QUOTED}|[^\]])*\]|\{{(?:{_QUOTED}|[^}}])*\}}|{_QUOTED}|\S)+")


class Recipe(BaseModel):
    """All settings. A section that is left out has its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: DatasetSettings
    """Stage 1."""
    cleaning: CleaningSettings = CleaningSettings()
    """Stage 1."""
    split: SplitSettings = SplitSettings()
    """Stage 1."""
    text: TextSettings = TextSettings()
    """Stage 1."""
    extend: ExtendSettings = ExtendSettings()
    """Stages 1, 4, 5, 6 and 9."""
    adapt: AdaptSettings = AdaptSettings()
    """Stage 1a."""
    item_knowledge: ItemKnowledgeSettings = ItemKnowledgeSettings()
    """Stage 1b."""
    encoder: EncoderSettings = EncoderSettings()
    """Stages 2 and 8."""
    cluster: ClusterSettings = ClusterSettings()
    """Stages 4 and 5."""
    prompt: PromptSettings = PromptSettings()
    """Stage 6."""
    llm: LLMSettings = LLMSettings()
    """Stages 6 and 7."""
    picks: PickSettings = PickSettings()
    """Stage 7a."""
    model: ModelSettings = ModelSettings()
    """Stage 11."""
    heads: HeadSettings = HeadSettings()
    """Stage 11."""
    train: TrainSettings = TrainSettings()
    """Stage 11."""
    calibrate: CalibrateSettings = CalibrateSettings()
    """Stage 11a."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """Stage 12."""
    runtime: RuntimeSettings = RuntimeSettings()
    """All stages; in no key."""

    folder: Path = Path()
    """Where relative paths of this recipe start: the folder of its file."""

    @property
    def calibration(self) -> CalibrateSettings:
        """`calibrate`, or what it is by default with this preset."""
        return self.calibrate.of_preset(self.heads.preset)

    @property
    def keep_seen(self) -> bool:
        """`evaluate.keep_seen`, or what it is by default under the protocol."""
        chosen = self.evaluate.keep_seen
        return self.split.protocol == "user-split" if chosen is None else chosen


def built_in_recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(
        path.name.removesuffix(".toml")
        for path in (resources.files("pipeline") / "recipes").iterdir()
        if path.name.endswith(".toml")
    )


@dataclass(frozen=True)
class Draft:
    """A recipe as it was written: only the settings that somebody chose. Further settings change it as if they were in
    the same file."""

    values: dict[str, Any]
    folder: Path
    """Where relative paths start."""
    source: str
    """What was read, for error messages."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where further settings come from, by name."""

    def changed(self, settings: Sequence[Setting], origin: str) -> "Draft":
        """The same with these settings, which come from `origin`. Raises SettingError."""
        names = [name for name, _ in settings]
        _check_parts(names, origin)
        values = deepcopy(self.values)
        for name, value in settings:
            _put(values, name, value)
        return replace(self, values=values, origins={**self.origins, **dict.fromkeys(names, origin)})

    def recipe(self) -> Recipe:
        """All settings. Raises SettingError."""
        if "folder" in self.values:
            problem = f"unknown setting in {self._origin('folder')}"
            raise SettingError("folder", problem, f"use one of {_siblings(('folder',))}")
        try:
            return Recipe.model_validate({**self.values, "folder": self.folder})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise _setting_error(name, first, self._origin(name)) from error

    def _origin(self, name: str) -> str:
        """Where the value of a setting, of a part of it, or of the section around it comes from."""
        related = (
            origin
            for other, origin in self.origins.items()
            if f"{other}.".startswith(f"{name}.") or f"{name}.".startswith(f"{other}.")
        )
        return next(related, self.source)


def read_draft(dataset: str, recipe: Path | None) -> Draft:
    """The recipe file `recipe`, or else that of `dataset`: a built-in name, or a folder, archive or file of a format.
    Raises SettingError."""
    values, folder = _base(dataset, recipe)
    return Draft(values, folder, str(recipe or dataset))


def load_recipe(dataset: str, recipe: Path | None, overrides: list[str], origin: str = "--set") -> Recipe:
    """The recipe of `read_draft` with `overrides`, which are `section.key=value` with a TOML value or plain text.
    `origin` is where they come from, for error messages. Raises SettingError."""
    settings = [parse_setting(override, origin) for override in overrides]
    return read_draft(dataset, recipe).changed(settings, origin).recipe()


def split_settings(text: str) -> list[str]:
    """Split a text into settings, `section.key=value`, at blanks outside quotes and brackets."""
    return [match[0] for match in _SETTING.finditer(text)]


def _base(dataset: str, recipe: Path | None) -> tuple[dict[str, Any], Path]:
    built_in = resources.files("pipeline") / "recipes" / f"{dataset}.toml"
    if recipe is not None:
        return read_toml(recipe, "recipe"), recipe.resolve().parent
    if dataset in built_in_recipes():
        return parse_toml(built_in.read_bytes(), "recipe", dataset), Path.cwd()
    path = local_path(dataset, Path.cwd())
    if path_is(path.is_dir):
        return _folder_values(path.resolve()), path.resolve()
    if not path_is(lambda: split_archive(path)[0].is_file()):
        hint = f"use one of {built_in_recipes()}, or a folder, zip or file of a format: `eimf data formats` lists them"
        raise SettingError("dataset", f"{dataset!r} is neither a known dataset nor a file or folder", hint)
    archive, member = split_archive(path)
    values = {"name": _name(data_name(member or archive.name)), "path": str(Path(archive.name, member))}
    return {"dataset": values}, archive.parent.resolve()


def _folder_values(folder: Path) -> dict[str, Any]:
    """The settings of a dataset that is a folder: our own two files, also if the raw data is gone, or those of a
    format."""
    own = {"interactions": "interactions.parquet", "items": "items.parquet"}
    if not any(folder.iterdir()):
        return {"dataset": {"name": _name(folder.name), **own}}
    files = {setting: name for setting, name in own.items() if path_is((folder / name).exists)}
    return {"dataset": {"name": _name(folder.name), **(files if "interactions" in files else {"path": "."})}}


def _name(text: str) -> str:
    """A name of a dataset made from that of a file or folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:64] or "data"


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Put a setting into `values`."""
    *sections, key = name.split(".")
    for part in sections:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise SettingError(name, f"{part!r} is a setting, not a section", "see `eimf recipe` for the names")
    values[key] = value


def _check_parts(names: list[str], origin: str) -> None:
    """Raises SettingError if both a section and a part of it are set: the later one would win."""
    for whole, part in product(names, names):
        if "." in whole and part.startswith(f"{whole}."):
            raise SettingError(whole, f"set in {origin} as a whole and in part, as {part}", "write one of them")


def _setting_error(field: str, first: ErrorDetails, source: str) -> SettingError:
    if first["type"] == "extra_forbidden":
        hint = renamed_hint(field, first["input"]) or f"use one of {_siblings(first['loc'])}"
        return SettingError(field, f"unknown setting in {source}", hint)
    if first["type"] == "missing":
        return SettingError(field, f"missing in {source}", "add it to the recipe")
    return SettingError(field, *describe_validation_error(first, source))


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    fields = Recipe.model_fields
    for part in location[:-1]:
        kind = fields[str(part)].annotation
        group = next(
            (one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel)), None
        )
        fields = group.model_fields if group else {}
    return sorted(name for name in fields if name != "folder")
