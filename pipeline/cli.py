"""The command line: parse, call, print. `eimf VERB --help` explains each verb."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from eimf.errors import SettingError, UserError
from eimf.store.artifact import Store
from pipeline import jobs, parallel, report
from pipeline.console import complain, say
from pipeline.recipe import Recipe, load_recipe

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Dataset = Annotated[
    str, typer.Option(help="A built-in recipe, or a folder with interactions.parquet and items.parquet.")
]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="A TOML recipe; takes the place of --dataset.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Root of the artifact store.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A setting, section.key=value; may be repeated.")]
Backbone = Annotated[str | None, typer.Option(help="Short for --set model.backbone=...")]
EsimKey = Annotated[str | None, typer.Option("--esim", help="Key of the ESIM artifact; default: the recipe's own.")]


def _recipe(dataset: str, recipe: Path | None, settings: list[str] | None, backbone: str | None = None) -> Recipe:
    chosen = [f'model.backbone="{backbone}"'] if backbone else []
    return load_recipe(dataset, recipe, [*chosen, *(settings or [])])


@app.command()
def esim(
    dataset: Dataset = "ml-100k",
    recipe: RecipeFile = None,
    store: StoreFolder = Path("artifacts"),
    settings: Settings = None,
) -> None:
    """Stage one: from raw data to a frozen ESIM artifact (stages 1 to 9)."""
    jobs.run_esim(_recipe(dataset, recipe, settings), Store(store))


@app.command()
def train(
    dataset: Dataset = "ml-100k", recipe: RecipeFile = None, store: StoreFolder = Path("artifacts"),
    settings: Settings = None, backbone: Backbone = None, esim: EsimKey = None,
) -> None:  # fmt: skip
    """Stage two: train a backbone against the frozen artifact, and measure it (stages 10 to 12)."""
    chosen = _recipe(dataset, recipe, settings, backbone)
    if parallel.rank():
        jobs.follow_train(chosen, Store(store), esim)
    else:
        report.show_results([jobs.run_train(chosen, Store(store), esim)])


@app.command()
def evaluate(
    dataset: Dataset = "ml-100k", recipe: RecipeFile = None, store: StoreFolder = Path("artifacts"),
    settings: Settings = None, backbone: Backbone = None, esim: EsimKey = None,
) -> None:  # fmt: skip
    """Measure a finished training, perhaps with other evaluate settings (stage 12)."""
    report.show_results([jobs.run_evaluate(_recipe(dataset, recipe, settings, backbone), Store(store), esim)])


@app.command()
def demo(store: StoreFolder = Path("artifacts"), settings: Settings = None) -> None:
    """MovieLens-100K from nothing to a table: the plain backbone, with item texts, with the LLM's interests."""
    jobs.run_demo(_recipe("ml-100k", None, settings), Store(store))


@app.command()
def sweep(
    plan: Annotated[Path, typer.Argument(help="A TOML plan: recipes, backbones, seeds, variants.")],
    store: StoreFolder = Path("artifacts"),
    results: Annotated[Path | None, typer.Option(help="Where result files are kept; default: beside the plan.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")] = 2,
) -> None:
    """Many trainings by one plan; a later start goes on. Prints a table with paired tests."""
    jobs.run_plan(plan, Store(store), results or plan.with_suffix(""), workers)


@app.command()
def probe(
    dataset: Dataset = "ml-100k", recipe: RecipeFile = None, store: StoreFolder = Path("artifacts"),
    settings: Settings = None, esim: EsimKey = None,
) -> None:  # fmt: skip
    """What the LLM's interests say about what users do next, beside their controls; without training."""
    jobs.run_probe(_recipe(dataset, recipe, settings), Store(store), esim)


@app.command()
def backbones() -> None:
    """Every backbone that --backbone can name, with its options."""
    report.show_backbones()


@app.command()
def recommend(
    checkpoint: Annotated[str, typer.Argument(help="Key of a checkpoint, as `train` and `status` print it.")],
    history: Annotated[list[str] | None, typer.Argument(help="Item ids of a user, oldest first.")] = None,
    store: StoreFolder = Path("artifacts"),
    count: Annotated[int, typer.Option(min=1, help="Items to recommend.")] = 10,
    time: Annotated[list[float] | None, typer.Option(help="Seconds of each event, for a timed backbone.")] = None,
    user: Annotated[str | None, typer.Option(help="A user of the dataset, in place of a history.")] = None,
    everyone: Annotated[
        Path | None, typer.Option(help="A .parquet, .csv or .jsonl file to write, for all users.")
    ] = None,
) -> None:
    """What a trained backbone recommends after a history: ids, scores, titles. `eimf.serve` is the same in Python."""
    from pipeline import recommend as recommending

    if everyone is None:
        recommending.show(Store(store), checkpoint, history or [], time, user, count)
    elif history or user:
        raise SettingError("recommend", "--everyone beside a history or a user", "ask for one of them")
    else:
        recommending.write_all(Store(store), checkpoint, everyone, count)


@app.command()
def status(store: StoreFolder = Path("artifacts")) -> None:
    """What the store holds."""
    report.show_store(Store(store))


@app.command()
def verify(store: StoreFolder = Path("artifacts")) -> None:
    """Check every file of every artifact against its sha256, and read every reply."""
    jobs.run_verify(Store(store))


@app.command()
def recipe(dataset: Dataset = "ml-100k", recipe: RecipeFile = None, settings: Settings = None) -> None:
    """Every setting with its value, as JSON."""
    chosen = _recipe(dataset, recipe, settings)
    jobs.check_backbone(chosen.model)
    say(chosen.model_dump_json(indent=2, exclude={"folder"}))


_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EEXIST,
    errno.ENOTDIR,
}


_STAGE_ONE = {"polars", "faiss"}
"""What a training node does without."""


def main() -> None:
    """Entry point. A mistake of the user, or a disk that fails, is one line on standard error and exit code 2."""
    try:
        app()
    except UserError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        if error.name not in _STAGE_ONE:
            raise
        _end(f"{error.name}: not installed here, and stage one needs it; run `make esim`, or pip install -e '.[data]'")
    except OSError as error:
        if error.errno not in _DISK:
            raise
        what = f"{error.filename or 'a file'}: {error.strerror or error}".splitlines()[0]
        _end(f"{what}; make room, get the right to write there, or clear the way, and run the same again")


def _end(reason: str) -> NoReturn:
    complain(f"eimf: {reason}")
    # An engine's worker processes must not keep a finished command waiting.
    sys.stderr.flush()
    os._exit(2)
