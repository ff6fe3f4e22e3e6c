"""`bundle.json`: what a bundle holds, where it came from, and the size and sha256 of every file of it.

Shapes: N items, D width, W base width, K interests, L labels.
"""

import hashlib
import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eimf.serving import cold_start
from eimf.serving.cold_start import ColdStartPart, Part
from eimf.serving.labels import Label, LabelSettings

SCHEMA_VERSION: Final = 2
MANIFEST, CARD, METRICS = "bundle.json", "README.md", "metrics.json"
TOWER, WEIGHTS = "user_tower.onnx", "user_tower.safetensors"
ITEM_VECTORS, ITEMS = "item_vectors.npy", "items.jsonl"
ITEM_SCORES, USER_MEANS = "item_scores.npy", "user_means.npy"
INDEX = "index.faiss"
LABELS, LABEL_VECTORS, ITEM_LABELS = "labels.json", "label_vectors.npy", "item_labels.npy"
ALWAYS = frozenset({CARD, METRICS, TOWER, WEIGHTS, ITEM_VECTORS, ITEMS, ITEM_SCORES, USER_MEANS})
"""Files of every bundle, in addition to the manifest."""
WITH_LABELS = frozenset({LABELS, LABEL_VECTORS, ITEM_LABELS})

_KILO, _MEGA = 1 << 10, 1 << 20
_LARGEST = {CARD: _MEGA, METRICS: 4 * _MEGA, TOWER: 512 * _MEGA, WEIGHTS: 512 * _MEGA}
"""Bytes of the files whose size does not follow from the number of items."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""A plain file name: no separator, not hidden."""
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+:-]{0,63}$")]
Number = Annotated[int | float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class FileEntry(Part):
    """One file."""

    bytes: Annotated[int, Field(ge=0, le=1 << 46)]
    sha256: Sha256


class Source(Part):
    """Keys of the artifacts that a bundle was exported from."""

    checkpoint: Sha256
    calibration: Sha256 | None
    """What calibrated the checkpoint; None if it is served as it was trained."""
    dataset: Sha256
    esim: Sha256 | None
    """Whose interests are the labels; None without labels."""


class Model(Part):
    """The backbone, as far as serving has to know it."""

    backbone: Word
    width: Annotated[int, Field(ge=1, le=65_536)]
    """D: numbers of an item vector and of an interest."""
    base_width: Annotated[int, Field(ge=1, le=65_536)]
    """W: those of the backbone itself, which come first, and in which cosines are taken. After them a calibrated one
    has further coordinates and, last, a bias; else W is D."""
    interests: Annotated[int, Field(ge=1, le=256)]
    """K."""
    max_length: Annotated[int, Field(ge=1, le=65_536)]
    """Events that the backbone sees: the last ones of a history."""
    uses_timestamps: bool
    keep_seen: bool
    """Whether it was trained and measured to recommend what a user already had."""
    num_items: Annotated[int, Field(ge=1, lt=2**31)]
    """N."""

    @model_validator(mode="after")
    def _is_part_of_the_width(self) -> Self:
        if self.base_width > self.width:
            raise ValueError(f"base_width {self.base_width} is larger than width {self.width}")
        return self


class IndexPart(Part):
    """How items are found."""

    kind: Literal["exact", "hnsw", "ivfpq"]
    parameters: dict[Word, Number]
    recall: dict[Word, Number] | None
    """Share of the exact best items that it finds, as measured at export; None for an exact index."""


class LabelFile(BaseModel):
    """`labels.json`: the labels by their numbers from 0, and those of the menu, in its order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: list[Label]
    menu: list[int]


class Manifest(Part):
    """`bundle.json`."""

    schema_version: Literal[2]
    created: Annotated[str, Field(max_length=64)]
    """UTC time of the export, ISO 8601."""
    eimf: Annotated[str, Field(max_length=64)]
    """Version that exported it."""
    source: Source
    model: Model
    index: IndexPart
    labels: LabelSettings | None
    cold_start: ColdStartPart
    files: Annotated[dict[FileName, FileEntry], Field(max_length=64)]
    """All files of the bundle but `bundle.json`."""
    digest: str = ""
    """sha256 over the canonical JSON of all other fields."""

    def signed(self) -> Self:
        """A copy with its digest. Raises ValueError for NaN or infinity."""
        return self.model_copy(update={"digest": digest(self.model_dump(mode="json", exclude={"digest"}))})

    def identity(self) -> dict[str, Any]:
        """What the same inputs give again: all fields but the time, the version, and the digest over them."""
        return self.model_dump(mode="json", exclude={"created", "eimf", "digest"})

    def expected_files(self) -> frozenset[str]:
        """The names of the files that such a bundle has, without `bundle.json`."""
        index = frozenset() if self.index.kind == "exact" else frozenset({INDEX})
        return ALWAYS | index | (WITH_LABELS if self.labels else frozenset())

    def arrays(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each `.npy` file, as its header must name them."""
        items, width = self.model.num_items, self.model.width
        arrays: dict[str, tuple[str, tuple[int, ...]]] = {
            ITEM_VECTORS: ("<f4", (items + 1, width)),
            ITEM_SCORES: ("<f4", (items, cold_start.ITEM_SCORES)),
            USER_MEANS: ("<f4", (1 + (self.labels.count if self.labels else 0), width)),
        }
        if self.labels:
            arrays |= {
                LABEL_VECTORS: ("<f4", (self.labels.count, self.model.base_width)),
                ITEM_LABELS: ("<i4", (items,)),
            }
        return arrays

    def largest(self, name: str) -> int:
        """Bytes that the file `name`, which is no array, may have at most."""
        items = self.model.num_items
        if name == ITEMS:
            return items * 4 * _KILO + _MEGA
        if name == INDEX:
            return items * (8 * self.model.width + 4 * _KILO) + 64 * _MEGA
        if name == LABELS:
            return (self.labels.count if self.labels else 0) * 64 * _KILO
        return _LARGEST[name]


def digest(value: Any) -> str:
    """sha256 (64 hex digits) over the canonical JSON of `value`. Raises ValueError for NaN or infinity."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
