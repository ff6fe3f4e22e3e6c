"""The command line: parse, call, print. `eimf VERB --help` explains each verb."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from eimf.errors import SettingError, UserError, shortened
from eimf.store.artifact import Store
from pipeline.commands.check import run_check
from pipeline.commands.demo import run_demo
from pipeline.commands.store import run_verify
from pipeline.commands.sweep import run_plan
from pipeline.console import info, print_error
from pipeline.recipe import Recipe, load_recipe, split_settings
from pipeline.report.backbones import show_backbones
from pipeline.report.results import show_results
from pipeline.report.store import show_store
from pipeline.stages.stage_one import check_chosen_backbone, run_esim
from pipeline.stages.stage_two import run_evaluate, run_train, run_worker
from pipeline.training import processes

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Dataset = Annotated[
    str, typer.Option(help="A built-in recipe, or a folder with interactions.parquet and items.parquet.")
]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="A TOML recipe; takes the place of --dataset.")]
StoreFolder = Annotated[Path, typer.Option("--store", help="Root of the artifact store.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, section.key=value; may be repeated. --settings 'a.b=1 c.d=2': several."),
]
Backbone = Annotated[str | None, typer.Option(help="Short for --set model.backbone=...")]
KeepSeen = Annotated[bool, typer.Option("--keep-seen", help="Short for --set evaluate.keep_seen=true.")]
EsimKey = Annotated[str | None, typer.Option("--esim", help="Key of the ESIM artifact; default: the recipe's own.")]


def _recipe(
    dataset: str, recipe: Path | None, settings: list[str] | None, backbone: str | None = None, keep_seen: bool = False
) -> Recipe:
    chosen = [f'model.backbone="{backbone}"'] if backbone else []
    chosen += ["evaluate.keep_seen=true"] if keep_seen else []
    return load_recipe(dataset, recipe, [*chosen, *(settings or [])])


@app.command()
def esim(
    dataset: Dataset = "ml-100k",
    recipe: RecipeFile = None,
    store: StoreFolder = Path("artifacts"),
    settings: Settings = None,
) -> None:
    """Stage one: from raw data to a frozen ESIM artifact (stages 1 to 9)."""
    run_esim(_recipe(dataset, recipe, settings), Store(store))


@app.command()
def train(
    dataset: Dataset = "ml-100k", recipe: RecipeFile = None, store: StoreFolder = Path("artifacts"),
    settings: Settings = None, backbone: Backbone = None, esim: EsimKey = None, keep_seen: KeepSeen = False,
) -> None:  # fmt: skip
    """Stage two: train a backbone against the frozen artifact, and measure it (stages 10 to 12)."""
    chosen = _recipe(dataset, recipe, settings, backbone, keep_seen)
    if processes.rank():
        run_worker(chosen, Store(store), esim)
    else:
        show_results([run_train(chosen, Store(store), esim)])


@app.command()
def evaluate(
    dataset: Dataset = "ml-100k", recipe: RecipeFile = None, store: StoreFolder = Path("artifacts"),
    settings: Settings = None, backbone: Backbone = None, esim: EsimKey = None, keep_seen: KeepSeen = False,
) -> None:  # fmt: skip
    """Measure a finished training, perhaps with other evaluate settings (stage 12)."""
    chosen = _recipe(dataset, recipe, settings, backbone, keep_seen)
    show_results([run_evaluate(chosen, Store(store), esim)])


@app.command()
def demo(store: StoreFolder = Path("artifacts"), settings: Settings = None) -> None:
    """MovieLens-100K from nothing to a table: the plain backbone, with item texts, with the LLM's interests."""
    run_demo(_recipe("ml-100k", None, settings), Store(store))


@app.command()
def sweep(
    plan: Annotated[Path, typer.Argument(help="A TOML plan: recipes, backbones, seeds, variants.")],
    store: StoreFolder = Path("artifacts"),
    results: Annotated[Path | None, typer.Option(help="Where result files are kept; default: beside the plan.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")] = 2,
) -> None:
    """Many trainings by one plan; a later start goes on. Prints a table with paired tests."""
    run_plan(plan, Store(store), results, workers)


@app.command()
def probe(
    dataset: Dataset = "ml-100k", recipe: RecipeFile = None, store: StoreFolder = Path("artifacts"),
    settings: Settings = None, esim: EsimKey = None,
) -> None:  # fmt: skip
    """What the LLM's interests say about what users do next, beside their controls; without training."""
    run_check(_recipe(dataset, recipe, settings), Store(store), esim)


@app.command()
def backbones() -> None:
    """Every backbone that --backbone can name, with its options."""
    show_backbones()


@app.command()
def recommend(
    checkpoint: Annotated[str, typer.Argument(help="Key of a checkpoint, as `train` and `status` print it.")],
    history: Annotated[
        list[str] | None,
        typer.Argument(help="Item ids of a user, oldest first; write -- before ids that begin with a dash."),
    ] = None,
    store: StoreFolder = Path("artifacts"),
    count: Annotated[int, typer.Option(min=1, help="Items to recommend.")] = 10,
    time: Annotated[list[float] | None, typer.Option(help="Seconds of each event, for a timed backbone.")] = None,
    user: Annotated[str | None, typer.Option(help="A user of the dataset, in place of a history.")] = None,
    everyone: Annotated[
        Path | None, typer.Option(help="A .parquet, .csv or .jsonl file to write, for all users.")
    ] = None,
    keep_seen: Annotated[
        bool | None, typer.Option(help="Items of the history may come back; default: as it was trained.")
    ] = None,
) -> None:
    """Print what a trained backbone recommends after a history: ids, scores, titles. In Python: `eimf.serving`."""
    from pipeline.commands import recommend as recommending

    if everyone is None:
        recommending.show(Store(store), checkpoint, history or [], time, user, count, keep_seen)
    elif history or user:
        raise SettingError("recommend", "--everyone together with a history or a user", "ask for one of them")
    else:
        recommending.write_all(Store(store), checkpoint, everyone, count, keep_seen)


@app.command()
def status(store: StoreFolder = Path("artifacts")) -> None:
    """What the store holds."""
    show_store(Store(store))


@app.command()
def verify(store: StoreFolder = Path("artifacts")) -> None:
    """Check every file of every artifact against its sha256, and read every reply."""
    run_verify(Store(store))


@app.command()
def recipe(dataset: Dataset = "ml-100k", recipe: RecipeFile = None, settings: Settings = None) -> None:
    """Every setting with its value, as JSON."""
    chosen = _recipe(dataset, recipe, settings)
    check_chosen_backbone(chosen.model)
    info(chosen.model_dump_json(indent=2, exclude={"folder"}))


_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY, errno.EMFILE, errno.ESTALE,
    errno.ENOENT, errno.EXDEV, errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.EBUSY, errno.ENOLCK, errno.EOPNOTSUPP,
}  # fmt: skip
"""Errors of a disk or a path."""
_STAGE_ONE = {"polars", "faiss"}
"""Packages that a training node does without."""
_USAGE_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
"""The error of the command line's parser, whose module differs between versions of typer."""
_INTERRUPTED = 130


def main() -> NoReturn:
    """Entry point."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.stderr.flush()
    if code and "vllm" in sys.modules:  # an engine's worker processes must not keep a failed command waiting
        os._exit(code)
    raise SystemExit(code)


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code. A mistake of the user, or a disk that fails, is one line on standard
    error and code 2."""
    try:
        return int(app(_arguments(arguments), standalone_mode=False) or 0)
    except UserError as error:
        return _refuse(str(error))
    except _USAGE_ERROR as error:
        return _refuse(_usage(error)) if arguments else 2  # without any, the help was shown
    except (typer.Abort, KeyboardInterrupt):
        print_error("eimf: interrupted; the same command resumes")
        return _INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in _STAGE_ONE:
            raise
        problem = "not installed here, and stage one needs it"
        return _refuse(f"{error.name}: {problem}; run `make esim`, or pip install -e '.[data]'")
    except OSError as error:
        if error.errno not in _DISK:
            raise
        problem = f"{error.filename or 'a file'}: {error.strerror or error}".splitlines()[0]
        return _refuse(f"{shortened(problem, 300)}; make room, get the right to write there, or clear the way")


def _arguments(given: list[str]) -> list[str]:
    """`--settings TEXT` as a `--set` for each setting in the text, which `make` has in one variable."""
    arguments: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":  # from here on no option
            return [*arguments, argument, *rest]
        if argument == "--settings":
            arguments += [part for setting in split_settings(next(rest, "")) for part in ("--set", setting)]
        else:
            arguments.append(argument)
    return arguments


def _usage(error: Any) -> str:
    """The problem of a command line, and where to look it up."""
    command = error.ctx.command_path if error.ctx else "eimf"
    return f"{shortened(error.format_message(), 300).rstrip('.')}; see `{command} --help`"


def _refuse(reason: str) -> int:
    print_error(f"eimf: {reason}")
    return 2
