"""Which artifacts a recipe's stage-one settings led to: what lets a training node start without raw data or models.

A ref is filed under the digest of the settings as written and of the dataset's key (for a `dataset`, its name), so the
same recipe finds it on another machine. It notes the content of what settings only name, the template and the models:
where these are at hand and have changed since, the ref no longer holds.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ConfigDict, ValidationError

from eimf.errors import ArtifactError, DataError, SettingError
from eimf.esim.prompt import load_template
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.files import read_file, write_atomic
from eimf.store.manifest import Key, Signed
from pipeline.backends.engines import Engines
from pipeline.backends.model_source import identity_at_hand
from pipeline.recipe import Recipe
from pipeline.stages.esim import STAGES
from pipeline.stages.stage import Run, make, stage_key

_DATASET = ("dataset", "text")
_SECTIONS = {
    "dataset": _DATASET,
    "item_vectors": (*_DATASET, "encoder"),
    "esim": (*_DATASET, "encoder", "cluster", "typical", "prompt", "llm"),
}
_NO_PART = {"dataset": {"name"}, "llm": {"max_prompt_tokens"}}
"""Settings that change nothing of what is made."""
HANDED_OVER = tuple(_SECTIONS)
"""Kinds of artifacts that stage two may start from."""


def settings_behind(recipe: Recipe, kind: str) -> dict[str, Any]:
    """The recipe's settings, as written, that lead to its artifact of this kind, one of HANDED_OVER."""
    values = recipe.model_dump(mode="json", include=set(_SECTIONS[kind]), exclude=_NO_PART)
    if "llm" in values and values["llm"]["backend"] == "replay":
        values["llm"]["backend"] = "vllm"
    return values


def _path(store: Store, recipe: Recipe, kind: str, dataset: str | None) -> Path:
    """The ref of what these settings led to: a `dataset`, or, with a dataset's key, what was made from it. Folders of
    data all name their files alike, so a dataset goes by its name too."""
    of = {"dataset": dataset} if dataset else {"name": recipe.dataset.name}
    name = keys.digest({"settings": settings_behind(recipe, kind), **of})
    return store.root / "refs" / kind / f"{name}.json"


class _Ref(Signed):
    """The content of a ref's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Key
    contents: dict[str, str]


def save_ref(store: Store, recipe: Recipe, artifact: Artifact) -> None:
    """Note that these settings led to `artifact`, one of HANDED_OVER; a store that knows it already is left alone."""
    kind = artifact.manifest.kind
    path = _path(store, recipe, kind, artifact.manifest.parents.get("dataset"))
    data = _Ref(key=artifact.key, contents=_contents(recipe, kind)).signed().model_dump_json().encode()
    if path.is_dir():
        raise _damaged_ref(path, "damaged: it is a folder")
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)


def read_ref_file(path: Path) -> _Ref:
    """Raises ArtifactError where it is damaged."""
    try:
        ref = _Ref.model_validate_json(read_file(path))
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise _damaged_ref(path, f"damaged ({reason})") from error
    if ref.signed().digest != ref.digest:
        raise _damaged_ref(path, "damaged: its bytes differ from its digest")
    return ref


def _damaged_ref(path: Path, found: str) -> ArtifactError:
    return ArtifactError(str(path), found, "remove it, and run `make esim` with the same recipe")


def _read_ref(store: Store, recipe: Recipe, kind: str, dataset: str | None = None) -> Artifact | None:
    """Raises ArtifactError where what it was made with is at hand and is another now."""
    path = _path(store, recipe, kind, dataset)
    if not path.exists() and not path.is_symlink():
        return None
    ref, current = read_ref_file(path), _contents(recipe, kind)
    for field, content in ref.contents.items():
        if field in current and current[field] != content:
            hint = "run `make esim` to make it anew, or take back the change"
            raise ArtifactError(kind, f"what {field} names has changed since it was made", hint)
    return store.find(kind, ref.key)


def _contents(recipe: Recipe, kind: str) -> dict[str, str]:
    """Digests of what settings behind such an artifact only name, by setting, where it is at hand."""
    found: dict[str, str | None] = {}
    for section in {"encoder", "llm"} & set(_SECTIONS[kind]):
        found[f"{section}.model"] = identity_at_hand(getattr(recipe, section).model, recipe.folder)
    if "prompt" in _SECTIONS[kind]:
        with suppress(SettingError):
            template = load_template(recipe.prompt.template, recipe.folder)
            found["prompt.template"] = keys.digest(template.model_dump(mode="json"))
    return {field: content for field, content in sorted(found.items()) if content is not None}


def _dataset(store: Store, recipe: Recipe) -> Artifact | None:
    """The dataset of the raw files where they are at hand, so that a changed file is noticed; else that of the ref. A
    training that reads nothing else of stage one has it built."""
    run = Run(recipe, store, Engines(recipe))
    try:
        configuration = STAGES[0].configuration(run)
    except DataError:
        return _read_ref(store, recipe, "dataset")
    found = store.find("dataset", stage_key(STAGES[0], {}, configuration))
    if found is None and recipe.heads.source is None:
        found, _ = make(STAGES[0], run, {}, configuration)
        save_ref(store, recipe, found)
    return found


def stage_two_inputs(store: Store, recipe: Recipe, esim_key: str | None) -> dict[str, Artifact]:
    """The `dataset` artifact, and the one that supervises (`HeadSettings.source`), if any: the recipe's own, or the
    `esim` of this key and what that was made from.

    Raises ArtifactError where the store does not hold them, or where the given artifact is of another dataset.
    """
    dataset, source = _dataset(store, recipe) or _missing(store, recipe, "dataset"), recipe.heads.source
    given = _given(store, esim_key, dataset) if esim_key else None
    if source is None:
        return {"dataset": dataset}
    if given is None:
        found = _read_ref(store, recipe, source, dataset.key) or _missing(store, recipe, source)
    else:
        found = given if source == "esim" else store.get(source, given.parent(source))
    return {"dataset": dataset, source: found}


def _given(store: Store, key: str, dataset: Artifact) -> Artifact:
    esim = store.get("esim", key)
    if esim.parent("dataset") != dataset.key:
        found = f"{esim.short} was made from dataset {esim.parent('dataset')[:12]}"
        found += f", this recipe's is {dataset.short}"
        raise ArtifactError("esim", found, "give an artifact of this dataset, or the recipe of that one")
    return esim


def _missing(store: Store, recipe: Recipe, kind: str) -> NoReturn:
    found = f"{store.root} holds none for this recipe's data and stage-one settings"
    hint = "run `make esim` with the same recipe and settings, or copy the store from where that was done"
    raise ArtifactError(f"{kind} of {recipe.dataset.name!r}", found, hint)  # a sweep has several recipes
