"""The command `demo`: both stages on MovieLens-100K, a table, the interests that the LLM inferred, a bundle, and next
steps."""

import time
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from eimf import schema
from eimf.config import HeadSettings
from eimf.errors import printable
from eimf.export.folder import replaceable
from eimf.store.artifact import Artifact, Store
from pipeline.commands.export import run_export
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.report.results import show_calibration, show_paired, show_results
from pipeline.report.tables import Number, Table
from pipeline.report.text import format_table
from pipeline.report.typical_users import typical_users_table
from pipeline.stages.stage_one import engines_of, run_esim
from pipeline.stages.stage_two import run_train

_USERS, _TITLES, _CHARS = 5, 6, 60
"""Most typical users, titles per user, and characters per text that are printed."""


def run_demo(recipe: Recipe, store: Store, bundle: Path) -> None:
    """Run stage one, then train the same backbone with the same seed: plain, by the published method, with the items'
    texts, and calibrate the last one (`modern`). Print results and seconds, and export it to the folder `bundle`."""
    replaceable(bundle)  # which refuses a folder that is no bundle before anything is built
    begin, before, engines = time.monotonic(), set(store.listing()), engines_of(recipe, store)
    artifacts = run_esim(recipe, store, engines)
    others = [recipe.model_copy(update={"heads": HeadSettings(preset=name)}) for name in ("plain", "paper", "text")]
    results = [run_train(variant, store) for variant in (*others, recipe)]
    info()
    show_results(results)
    for other in results[:-1]:
        show_paired(other, results[-1])
    info()
    show_calibration(results[-1])
    show_typical_users(artifacts)
    info()
    finished = {**artifacts, **{result.label: result.checkpoint for result in results[:-1]}}
    finished[results[-1].label] = results[-1].served
    built = {
        name: artifact for name, artifact in finished.items() if (artifact.manifest.kind, artifact.key) not in before
    }
    if built:
        info(f"Where the time went, {time.monotonic() - begin:.0f} seconds in all:")
        info(format_table(seconds_table(built, engines.seconds)))
        info()
    run_export(store, results[-1].served.key, bundle)
    info()
    show_next_steps()


def show_typical_users(artifacts: Mapping[str, Artifact]) -> None:
    """Print the typical users of the largest clusters: the latest titles that the LLM was shown, and the interests that
    it inferred, with the titles it gave as evidence."""
    rows = typical_users_table(artifacts).to_pylist()
    users = [(user, list(interests)) for user, interests in groupby(rows, key=itemgetter(schema.USER_ID))][:_USERS]
    info(f"Typical users of the {len(users)} largest clusters, and the interests that the LLM inferred:")
    for user, interests in users:
        members, titles = interests[0]["members"], _latest(interests[0]["titles"])
        info(f"  user {_one_line(user)}, typical of {members} users; latest titles: {titles}")
        for row in interests:
            evidence = _latest(row[schema.EVIDENCE]) or "no titles as evidence"
            info(f"    {_one_line(row[schema.INTEREST])}: {evidence}")


def seconds_table(built: Mapping[str, Artifact], starts: Mapping[str, float]) -> Table:
    """Seconds that each artifact took to build, by its label, and each engine to start."""
    seconds = {artifact.key: (label, artifact.manifest.seconds) for label, artifact in built.items()}.values()
    rows = [(label, (Number(value, 0),)) for label, value in seconds if value >= 1]
    rows += [(f"of these, starting {section}.model", (Number(value, 0),)) for section, value in starts.items()]
    return Table("", ("seconds",), tuple(rows))


def show_next_steps() -> None:
    """Print what the demo does not show, and commands to try next."""
    info(
        "The demo shows that the pipeline works. One seed and a 135M-parameter LLM do not show whether interests help."
    )
    info()
    info("Next steps:")
    info("  make serve                                 recommendations from the bundle, at http://127.0.0.1:8000")
    info("  make train BACKBONE=comirec-sa             another backbone, no LLM request")
    info("  make signal-check                          do the interests predict what users do next?")
    info("  make esim RECIPE=my.toml                   your own data and your own LLM, see README.md")
    info("  make status                                the artifacts in the store")


def _latest(titles: list[str]) -> str:
    """The last of these titles."""
    return ("... " if len(titles) > _TITLES else "") + "; ".join(map(_one_line, titles[-_TITLES:]))


def _one_line(text: str) -> str:
    """The text on one line, cut if it is long."""
    line = printable(text)
    return line if len(line) <= _CHARS else f"{line[: _CHARS - 3]}..."
