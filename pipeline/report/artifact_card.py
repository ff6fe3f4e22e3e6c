"""The card of an archive: what it is, from what, by which model and licence, how much, and what to beware of."""

from collections.abc import Iterable

from eimf.store.artifact import Artifact, Store
from pipeline.backends.assets import ASSETS
from pipeline.report.artifact import ancestry, leaves

_TITLES = {
    "dataset": "A dataset of users' histories, split for training and evaluation",
    "item_vectors": "Text vectors of the items of a dataset",
    "esim": "Interests that an LLM inferred from the histories of typical users, with text vectors",
    "checkpoint": "A trained sequential recommender",
    "calibration": "A trained sequential recommender, calibrated with texts or interests",
}
_UNKNOWN = "not known to EIMF; see where the model comes from"


def artifact_card(store: Store, artifact: Artifact, members: Iterable[Artifact]) -> str:
    """Markdown. Ancestors that the store lacks are left out."""
    manifest, ancestors = artifact.manifest, ancestry(store, artifact)
    members = list(members)
    lines = [f"# {_TITLES.get(manifest.kind, manifest.kind)}", ""]
    lines += [f"{manifest.kind} `{manifest.key}`, built {manifest.created}", ""]
    lines += [
        "## In this archive",
        "",
        *(f"- {m.manifest.kind} `{m.short}`: {', '.join(m.manifest.files)}" for m in members),
    ]
    lines += [
        "",
        "## From what",
        "",
        *(f"- {kind} `{member.short}`" for kind, member in ancestors.items() if member != artifact),
    ]
    lines += ["", "## Models and licences", "", *(_models(ancestors) or ["- none"])]
    lines += ["", "## Counts", ""]
    for member in members:
        counts = ", ".join(
            f"{name} {value}" for name, value in leaves(member.manifest.summary) if value not in (None, "")
        )
        lines.append(f"- {member.manifest.kind}: {counts or 'none'}")
    lines += ["", "## Beware", "", *(f"- {caveat}" for caveat in _caveats(ancestors, members))]
    lines += ["", "`eimf store unpack FILE` puts it into a store."]
    return "\n".join(lines) + "\n"


def _models(ancestors: dict[str, Artifact]) -> list[str]:
    """The LLM and the encoder, by what is in the settings of the stages that used them."""
    uses = (
        ("requests", "generator", "LLM"),
        ("item_knowledge", "generator", "LLM about items"),
        ("item_vectors", "encoder", "encoder"),
    )
    lines = []
    for kind, section, role in uses:
        identity = ancestors[kind].manifest.configuration.get(section) if kind in ancestors else None
        if isinstance(identity, dict):
            name = str(identity.get("model", identity.get("backend", "not named")))
            lines.append(f"- {role}: {name}; licence: {_licence(name)}")
    return lines


def _licence(model: str) -> str:
    package = model.partition("==")[0]
    return next((asset.licence for asset in ASSETS.values() if asset.package == package), _UNKNOWN)


def _caveats(ancestors: dict[str, Artifact], members: list[Artifact]) -> list[str]:
    kinds = {member.manifest.kind for member in members}
    caveats = []
    if "dataset" in kinds:
        caveats.append(
            "`dataset/` holds every user's id and history: personal data if the ids name people. "
            "Its licence is that of the raw data."
        )
    if "esim" in ancestors or "interests" in ancestors:
        caveats.append("An interest is an LLM's guess from some titles, not what a person has said.")
    if "interests" in ancestors:
        counts = ancestors["interests"].manifest.summary
        requests, malformed, cut = (counts.get(name, "unknown") for name in ("llm_requests", "malformed", "truncated"))
        caveats.append(f"LLM requests: {requests}, malformed replies: {malformed}, cut replies: {cut}.")
    if "esim" in ancestors and "grounding" in (counts := ancestors["esim"].manifest.summary):
        grounding, shuffled = counts["grounding"], counts.get("shuffled")
        caveats.append(f"Grounding of the interests in the histories: {grounding}; shuffled among users: {shuffled}.")
    gone = sorted(kind for member in members for kind in member.manifest.parents if kind not in kinds)
    if gone:
        caveats.append(f"Without {', '.join(dict.fromkeys(gone))}: enough for its use, not to build it again.")
    return caveats or ["Nothing is known."]
