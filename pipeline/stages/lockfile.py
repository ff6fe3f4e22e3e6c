"""Lock files record which artifacts a recipe's stage-one settings led to, so that a training node needs no raw data or
models.

A lock file is stored under the digest of the settings as written and of the dataset's key (for a `dataset`, its name),
so the same recipe finds it on another machine. It records digests of what the settings only name, the template and the
models: if one of these is present and has changed, the lock no longer holds.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from eimf.config import ClusterSettings, ItemKnowledgeSettings
from eimf.errors import ArtifactError, DataError, SettingError
from eimf.esim.item_prompt import load_item_template
from eimf.esim.picks import load_pick_template
from eimf.esim.prompt import load_template
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.manifest import Key, Signed
from pipeline.backends.model_source import local_identity
from pipeline.recipe import Recipe
from pipeline.stages.item_knowledge import knowledge_files
from pipeline.stages.raw_files import files_identity

_DATASET = ("dataset", "cleaning", "split", "text")
_SECTIONS = {
    "dataset": _DATASET,
    "item_vectors": (*_DATASET, "adapt", "encoder"),
    "esim": (*_DATASET, "adapt", "encoder", "cluster", "prompt", "llm"),
}
_WITHOUT_EFFECT = {"dataset": {"name"}, "llm": {"max_prompt_tokens"}}
"""Settings that change no artifact."""
_OF_INTERESTS = {"max_tokens", "min_interests", "max_interests", "interest_chars"}
"""Settings of the LLM that do not change what it knows about items."""
_NEWER = {name: ClusterSettings.model_fields[name].default for name in ("method", "typical", "typical_per_cluster")}
"""Settings of the section `cluster` that old locks lack, and their defaults."""
STAGE_TWO_KINDS = tuple(_SECTIONS)
"""Kinds of artifacts that stage two may start from."""


@dataclass(frozen=True)
class StageOneSettings:
    """What a recipe says about its artifact of one kind, one of STAGE_TWO_KINDS."""

    kind: str
    name: str
    """Of the dataset: data folders all name their files alike, so the name is needed to tell datasets apart."""
    settings: dict[str, Any]
    """As written."""
    folder: Path
    """Where relative paths in them start."""


class _Lock(Signed):
    """The content of a lock file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Key
    contents: dict[str, str]


def settings_behind(recipe: Recipe, kind: str) -> StageOneSettings:
    """The recipe's settings that lead to its artifact of this kind. A stage that is off adds nothing."""
    sections, without_effect = set(_SECTIONS[kind]), dict(_WITHOUT_EFFECT)
    if recipe.extend.enabled:
        sections.add("extend")
    if not recipe.adapt.enabled:
        sections.discard("adapt")
    if "encoder" in sections and recipe.item_knowledge.enabled:
        sections.add("item_knowledge")
        if recipe.item_knowledge.asks_llm and "llm" not in sections:
            sections.add("llm")
            without_effect["llm"] = without_effect["llm"] | _OF_INTERESTS
    if kind == "esim" and recipe.picks.enabled:
        sections.add("picks")
    settings = recipe.model_dump(mode="json", include=sections, exclude=without_effect)
    if "llm" in settings and settings["llm"]["backend"] == "replay":
        settings["llm"]["backend"] = "vllm"
    if "encoder" in settings and not settings["encoder"]["lexical"]:
        del settings["encoder"]["lexical"]  # a lock without lexical vectors is older than the setting
    if "prompt" in settings and settings["prompt"].pop("vocabulary") and recipe.prompt.is_closed(recipe.llm):
        settings["prompt"]["vocabulary"] = "closed"  # a lock of a free one is older than the setting
    for name, default in _NEWER.items():  # a lock with the default is older than the setting
        if settings.get("cluster", {}).get(name) == default:
            del settings["cluster"][name]
    return StageOneSettings(kind, recipe.dataset.name, settings, recipe.folder)


def save_lock(store: Store, behind: StageOneSettings, artifact: Artifact) -> None:
    """Record that these settings led to `artifact`. Writes nothing if the store has this record."""
    name = _name(behind, artifact.manifest.parents.get("dataset"))
    data = _Lock(key=artifact.key, contents=_content_digests(behind)).signed().model_dump_json().encode()
    store.home.write_ref(name, data)


def read_lock(store: Store, behind: StageOneSettings, dataset_key: str | None = None) -> Artifact | None:
    """The artifact that these settings led to, from this dataset, or None if the store has none. Raises ArtifactError
    if a model or template that they name is present and differs from the one used then."""
    name = _name(behind, dataset_key)
    data = _read(store, name)
    if data is None:
        return None
    lock, current = _parse(data, store.home.place(name)), _content_digests(behind)
    for field, digest in lock.contents.items():
        if field in current and current[field] != digest:
            hint = "run `make esim` to build it again, or undo the change"
            raise ArtifactError(behind.kind, f"what {field} names has changed since it was built", hint)
    return store.find(behind.kind, lock.key)


def read_lock_file(store: Store, name: str) -> _Lock:
    """Raises ArtifactError if it is damaged or missing."""
    return _parse(_read(store, name) or b"", store.home.place(name))


def _read(store: Store, name: str) -> bytes | None:
    try:
        return store.home.read_ref(name)
    except OSError as error:
        raise _damaged(store.home.place(name), f"damaged ({error.strerror})") from error


def _parse(data: bytes, place: str) -> _Lock:
    try:
        lock = _Lock.model_validate_json(data)
    except ValidationError as error:
        raise _damaged(place, f"damaged ({error.errors()[0]['msg']})") from error
    if lock.signed().digest != lock.digest:
        raise _damaged(place, "damaged: its bytes differ from its digest")
    return lock


def _name(behind: StageOneSettings, dataset_key: str | None) -> str:
    """The lock file for a `dataset`, or, with a dataset's key, for what was built from it."""
    origin = {"dataset": dataset_key} if dataset_key else {"name": behind.name}
    digest = keys.digest({"settings": behind.settings, **origin})
    return f"refs/{behind.kind}/{digest}.json"


def _damaged(place: str, problem: str) -> ArtifactError:
    return ArtifactError(place, problem, "remove it, and run `make esim` with the same recipe")


def _content_digests(behind: StageOneSettings) -> dict[str, str]:
    """Digests of the models, templates and files that settings name, by setting, if present on this machine."""
    digests: dict[str, str | None] = {}
    for section in {"encoder", "llm"} & behind.settings.keys():
        digests[f"{section}.model"] = local_identity(behind.settings[section]["model"], behind.folder)
    if "prompt" in behind.settings:
        with suppress(SettingError):
            template = load_template(behind.settings["prompt"]["template"], behind.folder)
            closed = "vocabulary" in behind.settings["prompt"]
            digests["prompt.template"] = keys.digest(template.content(closed=closed))
    if "picks" in behind.settings:
        with suppress(SettingError):
            picks = load_pick_template(behind.settings["picks"]["template"], behind.folder)
            digests["picks.template"] = keys.digest(picks.model_dump(mode="json"))
    if "item_knowledge" in behind.settings:
        field, digest = _knowledge_digest(ItemKnowledgeSettings(**behind.settings["item_knowledge"]), behind.folder)
        digests[field] = digest
    return {field: digest for field, digest in sorted(digests.items()) if digest is not None}


def _knowledge_digest(settings: ItemKnowledgeSettings, folder: Path) -> tuple[str, str | None]:
    """The setting that names what item knowledge is made from, the template or a file, and a digest of that; None if it
    is not present."""
    if settings.asks_llm:
        with suppress(SettingError):
            return "item_knowledge.template", keys.digest(load_item_template(settings.template, folder).content())
        return "item_knowledge.template", None
    with suppress(DataError):
        return "item_knowledge.source", files_identity(knowledge_files(settings, folder))
    return "item_knowledge.source", None
