"""Settings of what item texts and LLM interests add to a training (METHOD, stage two)."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from eimf.config.base import HashedSettings
from eimf.types import Size, Weight

ProbabilityMass = Annotated[float, Field(ge=0, lt=1)]
"""Probability mass of a label."""


class SmoothingSettings(HashedSettings):
    """Label smoothing over neighbors: the most probability mass that moves from a target to other items. The mass
    shrinks as the target (for `user`: the user) has more training events (METHOD, stage two)."""

    item: ProbabilityMass = 0.0
    """To the items whose texts are most similar to the target's."""
    user: ProbabilityMass = 0.0
    """To the items most similar to the mean text of the user's training items."""
    interest: ProbabilityMass = 0.0
    """To the items most similar to an interest of the user's cluster: the one closest to the target."""
    cooccurrence: ProbabilityMass = 0.0
    """To the items that the same users had most often in training. It needs no text."""
    pick: ProbabilityMass = 0.0
    """To the items that the LLM picked for the user's cluster (`picks.enabled`), the same mass to each."""

    @model_validator(mode="after")
    def _target_keeps_mass(self) -> Self:
        if self.total >= 1:
            raise ValueError(f"its parts add up to {self.total:g}; lower one, so that they stay below 1")
        return self

    @property
    def total(self) -> float:
        """The most mass that a target gives away."""
        return self.item + self.user + self.interest + self.cooccurrence + self.pick

    @property
    def reads_texts(self) -> bool:
        """True if a neighbor is found by its text."""
        return max(self.item, self.user, self.interest) > 0


class AlignmentSettings(HashedSettings):
    """Weights of the auxiliary tasks of the published method."""

    items: Weight = 0.0
    """Modality alignment between items and their texts: one half of L_align."""
    users: Weight = 0.0
    """Modality alignment between users and the LLM's interests: the other half."""
    semantic: Weight = 0.0
    """Semantic prediction, L_sem."""


class ComparisonSettings(HashedSettings):
    """How the trainer compares texts, for label smoothing toward items, users and interests."""

    compare: Literal["raw", "centered", "whitened"] = "raw"
    """raw: cosines of the vectors as they are. centered: without the mean of the items, which all texts have in common.
    whitened: of the first principal components, each with the same variance."""
    components: Size = 128
    """How many principal components are compared if `compare` is whitened."""
    use: Annotated[tuple[Literal["encoder", "lexical", "knowledge"], ...], Field(min_length=1)] = ("encoder",)
    """The items' vectors, side by side: of the text encoder, of the words (`encoder.lexical`), and of what an LLM knows
    (`item_knowledge.enabled`). They enter the item table too. Interests are compared by the encoder's alone."""
    align: bool = False
    """Align texts and interests as they are compared, rather than raw."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(self.use)) < len(self.use):
            raise ValueError(f"use={list(self.use)} names one twice; name it once")
        return self


def _parse_off(value: Any) -> Any:
    if isinstance(value, bool | int | float | str | list) and value != "none":
        raise ValueError(f"{value!r} is not allowed; write none to turn it off, or set its parts one by one")
    return None if value == "none" else value


def _zeros_to_none(group: Any) -> Any:
    return group if group is not None and any(group.model_dump().values()) else None


class HeadSettings(HashedSettings):
    """What stage two takes from texts and interests. `preset` sets all others; a setting that is written out
    replaces the preset's value. `none` turns a group off."""

    preset: Literal["plain", "init", "text", "paper", "modern"] = "modern"
    """plain: only the backbone. init: item embeddings initialized from the items' texts. text: the best use of the
    items' texts in training, without an LLM. paper: the published method. modern: ours, trained as `text`, and
    calibrated: popularity, co-occurrence, texts and the LLM's interests count beside the model if they add something
    (`calibrate.sources`)."""
    item_init: Literal["random", "text", "text_residual", "text_adaptor", "text_adaptor_residual"] = "random"
    """The item embeddings. random: learned from random values. text: learned, initialized from the items' texts.
    text_residual: a learned vector plus a learned map of the text. text_adaptor: a network of two layers over the text,
    without a vector of the item's own, as in UniSRec; text_adaptor_residual: with one. All are folded into one table
    when the model is saved."""
    smoothing: Annotated[SmoothingSettings | None, BeforeValidator(_parse_off), AfterValidator(_zeros_to_none)] = None
    """Label smoothing over text neighbors."""
    alignment: Annotated[AlignmentSettings | None, BeforeValidator(_parse_off), AfterValidator(_zeros_to_none)] = None
    """Auxiliary tasks of the published method."""
    texts: ComparisonSettings = ComparisonSettings()
    """How texts are compared."""
    control: Literal["llm", "shuffled", "random", "cluster", "titles", "candidates"] = "llm"
    """llm: the LLM's interests. The others are controls that take their place: the interests of another cluster; noise;
    a code of the cluster; the mean title of the cluster's typical user. Of picks: the picks of another cluster; items
    drawn from the catalogue (`random`); and drawn from the candidates that the LLM chose from (`candidates`, which
    leaves interests as they are)."""

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, values: Any) -> Any:
        preset = values.get("preset", "modern") if isinstance(values, dict) else None
        if not isinstance(preset, str):
            return values  # refused by its type
        merged = {**PRESETS.get(preset, {}), **values}
        for name in ("smoothing", "alignment"):
            if isinstance(merged.get(name), dict):
                merged[name] = {**PRESETS.get(preset, {}).get(name, {}), **merged[name]}
        return merged

    @model_validator(mode="after")
    def _control_replaces_something(self) -> Self:
        if self.control == "candidates" and not self.uses_picks:
            raise ValueError("control=candidates stands for picks, but none enter this training; set smoothing.pick")
        if self.control in ("cluster", "titles") and self.uses_picks:
            raise ValueError(f"control={self.control} cannot stand for picks; set smoothing.pick=0, or another control")
        if self.control != "llm" and not (self.uses_interests or self.uses_picks):
            raise ValueError(
                f"control={self.control} stands for interests, but none enter this training; "
                "leave it out, or set heads.preset=paper or heads.smoothing.interest"
            )
        return self

    @property
    def plain(self) -> bool:
        """True if nothing is added to the training of the backbone."""
        return self.item_init == "random" and self.smoothing is None and self.alignment is None

    @property
    def reads_texts(self) -> bool:
        """True if texts enter the training; interests bring texts with them."""
        smooths_texts = self.smoothing is not None and self.smoothing.reads_texts
        return self.item_init != "random" or smooths_texts or self.alignment is not None

    @property
    def uses_interests(self) -> bool:
        """True if the LLM's interests, or a control in their place, enter the training."""
        smooths = self.smoothing is not None and self.smoothing.interest > 0
        return smooths or (self.alignment is not None and max(self.alignment.users, self.alignment.semantic) > 0)

    @property
    def uses_picks(self) -> bool:
        """True if the LLM's picks of next items, or a control in their place, enter the training."""
        return self.smoothing is not None and self.smoothing.pick > 0

    @property
    def source(self) -> Literal["item_vectors", "esim"] | None:
        """Kind of the artifact that the training reads in addition to the dataset: the items' texts, or the LLM's
        interests too. The training's key contains that artifact's, so another prompt or LLM leaves a training on texts
        as it is."""
        if not self.reads_texts:
            return None
        return "esim" if self.uses_interests or self.uses_picks else "item_vectors"

    @property
    def reads(self) -> tuple[str, ...]:
        """Kinds of the artifacts that the training reads."""
        return ("dataset", self.source) if self.source else ("dataset",)

    def configuration(self) -> dict[str, Any]:
        """The part of a training's key: the settings, but not how they came about. The parts of `smoothing` that came
        later are left out at 0, and `texts` has only what this training reads and what differs from the default: so a
        training without them has the key it always had."""
        settings = self.model_dump(mode="json", exclude={"preset", "texts"})
        if self.smoothing is not None:
            for later in ("cooccurrence", "pick"):
                if not settings["smoothing"][later]:
                    del settings["smoothing"][later]
        return {**settings, "texts": texts} if (texts := self._texts_read()) else settings

    def _texts_read(self) -> dict[str, Any]:
        """The part of `texts` that changes this training, if any does."""
        texts, aligns = self.texts, self.alignment is not None and self.texts.align
        by_text = self.smoothing is not None and self.smoothing.reads_texts
        read: dict[str, Any] = {}
        if (by_text or aligns) and texts.compare != "raw":
            read["compare"] = texts.compare
            if texts.compare == "whitened":
                read["components"] = texts.components
            if aligns:
                read["align"] = True
        if (self.item_init != "random" or by_text) and texts.use != ("encoder",):
            read["use"] = list(texts.use)
        return read

    def overrides(self) -> dict[str, Any]:
        """The settings that differ from the preset's, by name, such as {"smoothing.item": 0.2}."""
        usual = _flat(HeadSettings(preset=self.preset))
        return {name: value for name, value in _flat(self).items() if value != usual.get(name, 0.0)}


def _flat(heads: HeadSettings) -> dict[str, Any]:
    """Every setting but `preset` and `control`, groups written out."""
    flat: dict[str, Any] = {"item_init": heads.item_init}
    for name, group in (("smoothing", heads.smoothing), ("alignment", heads.alignment)):
        flat |= {f"{name}.{part}": value for part, value in group} if group else {name: "none"}
    texts = {**dict(heads.texts), "use": "+".join(heads.texts.use)}
    return flat | {f"texts.{part}": value for part, value in texts.items()}


_TEXT = {"item_init": "text_residual", "smoothing": {"item": 0.4, "user": 0.2}}
PRESETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "init": {"item_init": "text"},
    "text": _TEXT,
    "paper": {"alignment": {"items": 0.1, "users": 0.1, "semantic": 0.1}},
    "modern": _TEXT,
}
"""What each preset of `HeadSettings` sets."""
