"""A recipe: every setting of one dataset and its training, from one TOML file."""

import re
import tomllib
from datetime import date
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


def load_recipe(dataset: str, recipe: Path | None, overrides: list[str], origin: str = "--set") -> Recipe:
    """The recipe file `recipe`, or else that of `dataset`: a built-in name, or a folder, archive
    or file of a format. `overrides` are `section.key=value` with a TOML value or plain text;
    `origin` is where they come from, for error messages. Raises SettingError."""
    values, folder = _base(dataset, recipe)
    in_file = "folder" in values
    _check_parts([override.partition("=")[0].strip() for override in overrides], origin)
    names = [_override(values, override, origin) for override in overrides]
    if "folder" in values:
        source = recipe or dataset if in_file else origin
        raise SettingError("folder", f"unknown setting in {source}", f"use one of {_siblings(('folder',))}")
    try:
        return Recipe.model_validate({**values, "folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        is_override = any(f"{name}.".startswith(f"{field}.") or f"{field}.".startswith(f"{name}.") for name in names)
        raise _setting_error(field, first, origin if is_override else str(recipe or dataset)) from error


def split_settings(text: str) -> list[str]:
    """Split a text into settings, `section.key=value`, at blanks outside quotes and brackets."""
    return [match[0] for match in _SETTING.finditer(text)]


def _base(dataset: str, recipe: Path | None) -> tuple[dict[str, Any], Path]:
    built_in = resources.files("pipeline") / "recipes" / f"{dataset}.toml"
    if recipe is not None:
        return read_toml(recipe, "recipe"), recipe.resolve().parent
    if dataset in built_in_recipes():
        return _parse(built_in.read_bytes(), "recipe", dataset), Path.cwd()
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


def read_toml(path: Path, field: str) -> dict[str, Any]:
    """A TOML file in UTF-8, with or without a byte order mark. Raises SettingError for `field`."""
    if not path_is(path.is_file):
        raise SettingError(field, f"no file {path}", f"give the path of a TOML {field}")
    return _parse(path.read_bytes(), field, str(path))


def _parse(text: bytes, field: str, source: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingError(field, f"{source} is not UTF-8 ({error})", "save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(field, f"{source} is not TOML ({error})", "fix that line") from error
    except ValueError as error:  # a number with thousands of digits, which TOML allows
        raise SettingError(field, f"{source} cannot be read ({error})", "write smaller numbers") from error
    except RecursionError as error:
        raise SettingError(field, f"{source} {_DEPTH_PROBLEM}", _DEPTH_HINT) from error
    if _too_deep(values):
        raise SettingError(field, f"{source} {_DEPTH_PROBLEM}", _DEPTH_HINT)
    return {name: _dates_as_text(value) for name, value in values.items()}


def _dates_as_text(value: Any) -> Any:
    """`value` with each date of TOML, which has no quotes, as a setting takes it: in quotes."""
    if isinstance(value, dict):
        return {name: _dates_as_text(part) for name, part in value.items()}
    return value.isoformat() if isinstance(value, date) else value


_MAX_DEPTH = 16
"""Deepest nesting of lists and tables; no setting has more than four levels."""
_DEPTH_PROBLEM, _DEPTH_HINT = f"nests more than {_MAX_DEPTH} lists or tables", "no setting needs so many"


def _too_deep(value: Any) -> bool:
    """True if lists and tables are nested deeper than in any setting."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        nested = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)]
        level = [part for parts in nested for part in parts]
    return bool(level)


def _override(values: dict[str, Any], override: str, origin: str) -> str:
    """Apply one override to `values`; returns the setting's name."""
    if not _is_text(override):
        raise SettingError("set", f"{override!a} in {origin} is not UTF-8", "write it in UTF-8")
    name, sign, text = override.partition("=")
    path = name.strip().split(".")
    if not sign or not 2 <= len(path) <= _MAX_DEPTH:
        raise SettingError("set", f"{override!r} in {origin} is not section.key=value", 'write it like "train.lr=5e-4"')
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise SettingError(name, f"{part!r} is a setting, not a section", "see `eimf recipe` for the names")
    values[path[-1]] = _value(text.strip())
    return ".".join(path)


def _check_parts(names: list[str], origin: str) -> None:
    """Raises SettingError if both a section and a part of it are set: the later one would win."""
    for whole, part in product(names, names):
        if "." in whole and part.startswith(f"{whole}."):
            raise SettingError(whole, f"set in {origin} as a whole and in part, as {part}", "write one of them")


def _is_text(value: str) -> bool:
    """False for bytes of the command line that are not UTF-8; Python turns these into lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(text: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # text without quotes, or a value that no setting takes
        return text
    return text if isinstance(value, date) or _too_deep(value) else value


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
