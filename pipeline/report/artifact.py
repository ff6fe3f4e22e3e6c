"""One artifact in full, and what differs between two."""

from collections.abc import Iterator, Mapping
from typing import Any

from eimf import schema
from eimf.errors import ArtifactError, SettingError, printable
from eimf.store.artifact import Artifact, Store
from pipeline.console import info

_SHOWN = 10
"""Users whose interests are printed."""
_WIDE = 160
"""Characters of a value."""


def show_artifact(artifact: Artifact) -> None:
    """Print an artifact's settings, parents, counts, tools, files and size."""
    manifest = artifact.manifest
    size = sum(entry.size for entry in manifest.files.values())
    info(f"{manifest.kind} {manifest.key}")
    info(f"built    {manifest.created} in {manifest.seconds:,.1f} s, version {manifest.stage_version} of its stage")
    for title, values in (
        ("parents", manifest.parents),
        ("settings", dict(leaves(manifest.configuration))),
        ("counts", dict(leaves(manifest.summary))),
        ("tools", manifest.tools),
    ):
        _section(title, values)
    rows = {name: "" if entry.rows is None else f"  {entry.rows:,} rows" for name, entry in manifest.files.items()}
    files = {name: f"{entry.size / 1e6:>10,.3f} MB{rows[name]}" for name, entry in manifest.files.items()}
    _section(f"files ({size / 1e6:,.1f} MB)", files)


def _section(title: str, values: Mapping[str, object]) -> None:
    if not values:
        return
    info(title)
    width = max(map(len, values))
    for name, value in values.items():
        info(f"  {printable(name.ljust(width))}  {_value(value)}")


def _value(value: object) -> str:
    text = printable(str(value))
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 3]}..."


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below `values` with its path, `section.key`. A list is one value."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def ancestry(store: Store, artifact: Artifact) -> dict[str, Artifact]:
    """The artifact and those of its ancestors that the store has, by kind, parents before children."""
    members: dict[str, Artifact] = {}

    def visit(member: Artifact) -> None:
        for kind, key in member.manifest.parents.items():
            if kind not in members and (parent := store.find(kind, key)) is not None:
                visit(parent)
        members[member.manifest.kind] = member

    visit(artifact)
    return members


def show_difference(store: Store, first: Artifact, second: Artifact) -> None:
    """Print which settings of which ancestors differ between two artifacts of one kind, how their counts differ, and
    whose interests changed. Raises SettingError for two kinds."""
    if first.manifest.kind != second.manifest.kind:
        problem = f"{first.short} is of kind {first.manifest.kind}, {second.short} of kind {second.manifest.kind}"
        raise SettingError("store diff", problem, "give two artifacts of one kind")
    before, after = ancestry(store, first), ancestry(store, second)
    if first.key == second.key:
        info(f"both are {first.manifest.kind} {first.short}")
        return
    for kind in [*before, *(kind for kind in after if kind not in before)]:
        _show_kind(kind, before.get(kind), after.get(kind))
    if "interests" in before and "interests" in after and before["interests"].key != after["interests"].key:
        show_changed_interests(before, after)


def _show_kind(kind: str, before: Artifact | None, after: Artifact | None) -> None:
    if before is None or after is None:
        info(f"{kind}: only in the {'second' if before is None else 'first'}")
        return
    if before.key == after.key:
        return
    info(f"{kind} {before.short} -> {after.short}")
    settings = differences(before.manifest.configuration, after.manifest.configuration)
    if before.manifest.stage_version != after.manifest.stage_version:
        settings["version of the stage"] = (before.manifest.stage_version, after.manifest.stage_version)
    if not settings:
        info("  same settings, other parents")
    for name, values in settings.items():
        info(f"  {name}: {' -> '.join(map(_value, values))}")
    counts = differences(before.manifest.summary, after.manifest.summary)
    if counts:
        info("  counts: " + ", ".join(f"{name} {' -> '.join(map(_value, values))}" for name, values in counts.items()))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Both values of every path whose value differs; "not set" for one that is missing."""
    old, new = dict(leaves(before)), dict(leaves(after))
    values = {name: (old.get(name, "not set"), new.get(name, "not set")) for name in [*old, *(new.keys() - old.keys())]}
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def show_changed_interests(before: Mapping[str, Artifact], after: Mapping[str, Artifact]) -> None:
    """Print how many users have other interests, and the first of them."""
    old, new = _interests(before), _interests(after)
    both = sorted(old.keys() & new.keys())
    changed = [user for user in both if old[user] != new[user]]
    same = len(both) - len(changed)
    info(f"interests of {len(old):,} and {len(new):,} users: {same:,} the same, {len(changed):,} changed")
    info(f"  only in the first: {len(old) - len(both):,} users, only in the second: {len(new) - len(both):,}")
    for user in changed[:_SHOWN]:
        gone = [text for text in old[user] if text not in new[user]]
        come = [text for text in new[user] if text not in old[user]]
        info(f"  user {printable(user)}: - {_value('; '.join(gone) or 'nothing')}")
        info(f"  {' ' * len(f'user {printable(user)}')}  + {_value('; '.join(come) or 'nothing')}")


def _interests(members: Mapping[str, Artifact]) -> dict[str, list[str]]:
    """The interests of each user by user id, for two datasets may number their users differently."""
    if "dataset" not in members:
        raise ArtifactError("store diff", "the store lacks the dataset of one of them", "`eimf store pull` it first")
    users = members["dataset"].table("users", [schema.USER, schema.USER_ID])
    names = dict(zip(users[schema.USER].to_pylist(), users[schema.USER_ID].to_pylist(), strict=True))
    table = members["interests"].table("interests", [schema.USER, schema.INTEREST])
    texts: dict[str, list[str]] = {}
    for user, text in zip(table[schema.USER].to_pylist(), table[schema.INTEREST].to_pylist(), strict=True):
        texts.setdefault(str(names.get(user, user)), []).append(text)
    return texts
