"""The commands of the group `store`: what it holds, and how that gets elsewhere."""

from __future__ import annotations

from functools import partial

import typer

from pipeline.cli.examples import EXAMPLES
from pipeline.cli.given import STORE, store_at
from pipeline.cli.help import CONTEXT, CommandPage, GroupPage
from pipeline.cli.options import common, files

store_app = typer.Typer(cls=GroupPage, rich_markup_mode=None, context_settings=CONTEXT, epilog=EXAMPLES["store"])
command = partial(store_app.command, cls=CommandPage)
_LOOK, _MOVE, _TIDY = "Look", "Move", "Tidy"


@store_app.callback()
def _about() -> None:
    """Look into a store, copy out of it, tidy it.

    A store is a folder or s3://BUCKET/PREFIX. A bucket needs the extra `bucket`, and AWS_ACCESS_KEY_ID and the like in
    the environment. KEY may be shortened, and may be of any kind of artifact.
    """


@command("ls", rich_help_panel=_LOOK, epilog=EXAMPLES["store ls"])
def list_(kind: files.Kind = None, store: common.StoreFolder = STORE) -> None:
    """List the artifacts, and how much each kind takes."""
    from pipeline.report.store import list_kinds

    list_kinds(store_at(store), kind)


@command(rich_help_panel=_LOOK, epilog=EXAMPLES["store show"])
def show(key: files.AnyKey, store: common.StoreFolder = STORE) -> None:
    """Show an artifact's settings, parents, counts, tools and files."""
    from pipeline.commands.store_copy import find_artifact
    from pipeline.report.artifact import show_artifact

    show_artifact(find_artifact(store_at(store), key))


@command(rich_help_panel=_LOOK, epilog=EXAMPLES["store diff"])
def diff(first: files.AnyKey, second: files.AnyKey, store: common.StoreFolder = STORE) -> None:
    """Say which settings differ between two artifacts.

    Names the ancestor of each setting, and whose interests changed if both have an LLM behind them.
    """
    from pipeline.commands.store_copy import find_artifact
    from pipeline.report.artifact import show_difference

    opened = store_at(store)
    show_difference(opened, find_artifact(opened, first), find_artifact(opened, second))


@command(rich_help_panel=_MOVE, epilog=EXAMPLES["store push"])
def push(
    key: files.AnyKey, target: files.OtherStore, store: common.StoreFolder = STORE,
    purpose: files.Purpose = "all",
) -> None:  # fmt: skip
    """Copy an artifact with its ancestors into another store.

    What is there already is not sent again; after an interruption the same command resumes.
    """
    from pipeline.commands.store_copy import copy_artifact

    copy_artifact(store_at(store), store_at(target), key, purpose)


@command(rich_help_panel=_MOVE, epilog=EXAMPLES["store pull"])
def pull(
    key: files.AnyKey, source: files.OtherStore, store: common.StoreFolder = STORE,
    purpose: files.Purpose = "all",
) -> None:  # fmt: skip
    """Copy an artifact with its ancestors from another store."""
    from pipeline.commands.store_copy import copy_artifact

    copy_artifact(store_at(source), store_at(store), key, purpose)


@command(rich_help_panel=_MOVE, epilog=EXAMPLES["store pack"])
def pack(
    key: files.AnyKey, output: files.Archive, store: common.StoreFolder = STORE,
    purpose: files.PackPurpose = None,
) -> None:  # fmt: skip
    """Write an artifact and what it needs into one file.

    The card says what it is, from what it was made, by which model under which licence, and what to beware of.
    """
    from pipeline.commands.store_archive import pack as pack_archive

    pack_archive(store_at(store), key, output, purpose)


@command(rich_help_panel=_MOVE, epilog=EXAMPLES["store unpack"])
def unpack(archive: files.ArchiveFile, store: common.StoreFolder = STORE) -> None:
    """Add the artifacts of an archive to the store.

    An archive that is cut, changed, or holds anything else is refused, and the store stays as it was.
    """
    from pipeline.commands.store_archive import unpack as unpack_archive

    unpack_archive(store_at(store), archive)


@command(rich_help_panel=_TIDY, epilog=EXAMPLES["store gc"])
def gc(
    store: common.StoreFolder = STORE, keep: files.Keep = None, days: files.Days = 1.0,
    yes: files.Yes = False,
) -> None:  # fmt: skip
    """List the artifacts that nobody needs, and remove them with --yes.

    Needed are those of the last `esim` of each recipe, every training, every result, and all that these were built
    from. In a bucket, so are objects that belong to no artifact, such as those of an upload that never finished, once
    they are a day old. LLM replies are never removed.
    """
    from pipeline.commands.store_gc import collect_garbage

    collect_garbage(store_at(store), keep or [], days, really=yes)
