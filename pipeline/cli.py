"""The command line: parse, call, print. `eimf --help` lists the commands.

A command imports what it needs, so that each runs with its own packages installed: `eimf serve` without torch.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from eimf.errors import SettingError
from pipeline import cli_options as options
from pipeline.cli_data import data
from pipeline.cli_errors import explain
from pipeline.cli_examples import EXAMPLES
from pipeline.cli_help import CONTEXT, CommandPage, GroupPage
from pipeline.cli_requests import replies, requests
from pipeline.cli_store import store_app
from pipeline.console import info, print_error

if TYPE_CHECKING:
    from eimf.store.artifact import Store
    from pipeline.recipe import Recipe

_STAGES, _EXPERIMENTS, _STORE = "Stages", "Experiments", "Store and settings"
_ARTIFACTS, _BUNDLE, _REPORT = "artifacts", "bundle", Path("report.html")

app = typer.Typer(
    cls=GroupPage, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    epilog=EXAMPLES["eimf"],
)  # fmt: skip
command = partial(app.command, cls=CommandPage)


@app.callback()
def _program(version: options.Version = False) -> None:
    """Train sequential recommenders on interests that an LLM inferred offline.

    Stage one (esim) asks an LLM about a few typical users and freezes its answers as an artifact. Stage two (train,
    evaluate, recommend) never needs the LLM again. A bundle (export) is served (serve) without the store and torch.
    """


def _recipe(
    dataset: str, recipe: Path | None, settings: list[str] | None, backbone: str | None = None,
    preset: str | None = None, keep_seen: bool = False,
) -> Recipe:  # fmt: skip
    from pipeline.recipe import load_recipe

    chosen = [f'model.backbone="{backbone}"'] if backbone else []
    chosen += [f'heads.preset="{preset}"'] if preset else []
    chosen += ["evaluate.keep_seen=true"] if keep_seen else []
    return load_recipe(dataset, recipe, [*chosen, *(settings or [])])


def _open(address: str) -> Store:
    from pipeline.stores import open_store

    return open_store(address)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["demo"])
def demo(
    store: options.StoreFolder = _ARTIFACTS, settings: options.Settings = None, output: options.Bundle = _BUNDLE
) -> None:
    """Run both stages on MovieLens-100K and export a bundle.

    Downloads the dataset and two small models, asks the LLM about 38 typical users, and trains SASRec plain, with item
    texts, by the published method, and with the LLM's interests. Takes about five minutes on two CPU cores. Then
    `eimf serve` serves the bundle.
    """
    from pipeline.bundles import check_free, place_of, publish
    from pipeline.commands.demo import run_demo

    check_free(place := place_of(output))
    run_demo(_recipe("ml-100k", None, settings), _open(store), place.folder)
    publish(place)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["esim"])
def esim(
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, store: options.StoreFolder = _ARTIFACTS,
    settings: options.Settings = None,
) -> None:  # fmt: skip
    """Build the frozen artifact from raw data (stage one).

    Reads and splits the data, encodes the items' texts, clusters the users, asks the LLM about the typical user of each
    cluster, and encodes its answers. Stages that are already in the store are reused, and so is every LLM reply. After
    an interruption the same command resumes.
    """
    from pipeline.stages.stage_one import run_esim

    run_esim(_recipe(dataset, recipe, settings), _open(store))


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["extend"])
def extend(
    base: options.Base, dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None,
    store: options.StoreFolder = _ARTIFACTS, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Continue a frozen artifact with newer data.

    The dataset has all events, old and new. Users and items keep their numbers, and clusters their centroids. The LLM
    is asked about new clusters, and about those whose typical user does not fit any more. Prints how far the data has
    moved. A trained model goes on serving.
    """
    from pipeline.commands.extend import run_extend

    run_extend(_recipe(dataset, recipe, settings), _open(store), base)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["train"])
def train(
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, store: options.StoreFolder = _ARTIFACTS,
    esim: options.EsimKey = None, backbone: options.Backbone = None, preset: options.Preset = None,
    keep_seen: options.KeepSeen = False, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Train a backbone on the artifact and measure it (stage two).

    Prints NDCG, Recall and MRR on the test events; the store keeps all metrics and all ranks. A training in the store
    is not run again. After an interruption the same command resumes.
    """
    from pipeline.report.results import show_calibration, show_results
    from pipeline.stages.stage_two import run_train, run_worker
    from pipeline.training import processes

    chosen = _recipe(dataset, recipe, settings, backbone, preset, keep_seen)
    if processes.rank():
        run_worker(chosen, _open(store), esim)
    else:
        result = run_train(chosen, _open(store), esim)
        show_results([result])
        show_calibration(result)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["evaluate"])
def evaluate(
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, store: options.StoreFolder = _ARTIFACTS,
    esim: options.EsimKey = None, backbone: options.Backbone = None, preset: options.Preset = None,
    keep_seen: options.KeepSeen = False, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Measure a finished training again.

    Give the options of the training; only `evaluate` settings may differ.
    """
    from pipeline.report.results import show_calibration, show_results
    from pipeline.stages.stage_two import run_evaluate

    result = run_evaluate(_recipe(dataset, recipe, settings, backbone, preset, keep_seen), _open(store), esim)
    show_results([result])
    show_calibration(result)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["recommend"])
def recommend(
    checkpoint: options.Checkpoint, history: options.History = None, store: options.StoreFolder = _ARTIFACTS,
    user: options.User = None, time: options.Times = None, count: options.Count = 10, output: options.Output = None,
    keep_seen: options.ServeSeen = None,
) -> None:  # fmt: skip
    """Recommend items with a trained backbone.

    Prints item ids, scores and titles. `pipeline.serving.load_recommender` does the same in Python.
    """
    from pipeline.commands import recommend as recommending

    if output is None:
        recommending.show(_open(store), checkpoint, history or [], time, user, count, keep_seen)
    elif history or user:
        raise SettingError("recommend", "--output together with a history or a user", "ask for one of them")
    else:
        recommending.write_all(_open(store), checkpoint, output, count, keep_seen)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["export"])
def export(
    checkpoint: options.TrainedCheckpoint = None, output: options.Bundle = _BUNDLE,
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, store: options.StoreFolder = _ARTIFACTS,
    esim: options.LabelKey = None, backbone: options.Backbone = None, preset: options.Preset = None,
    keep_seen: options.KeepSeen = False, settings: options.Settings = None, labels: options.Labels = True,
    index: options.IndexKind = None,
) -> None:  # fmt: skip
    """Export a trained backbone as a bundle.

    Give a checkpoint, or the options of its training. A bundle is a folder with all that serving needs: the user tower
    as ONNX, item vectors, an index, and the LLM's interests as labels. `eimf.serving.Recommender.load` serves it with
    numpy, without torch and without the store.
    """
    from pipeline.bundles import check_free, place_of, publish
    from pipeline.commands.export import run_export
    from pipeline.stages.stage_two import find_trained

    check_free(place := place_of(output))
    if checkpoint is None:
        chosen = _recipe(dataset, recipe, settings, backbone, preset, keep_seen)
        checkpoint = find_trained(chosen, _open(store), esim).key
    elif dataset != "ml-100k" or recipe or settings or backbone or preset or keep_seen:
        raise SettingError("export", "a checkpoint together with options of a training", "give one of them")
    run_export(_open(store), checkpoint, place.folder, esim=esim, labels=labels, index=index)
    publish(place)


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["serve"])
def serve(
    bundle: options.BundleAddress, host: options.Host = "127.0.0.1", port: options.Port = 8000,
    processes: options.ServeProcesses = 1, threads: options.Threads = 1, rate: options.Rate = None,
    queue: options.Queue = 64, deadline: options.Deadline = 5.0, body_size: options.BodySize = 256,
    log_ids: options.LogIds = False,
) -> None:  # fmt: skip
    """Serve a bundle over HTTP.

    The page is at the address it prints, the interface at /openapi.json. A new bundle renamed into its place is loaded
    without a pause, and so is one after SIGHUP. SIGTERM stops it after all answers. A bundle in a bucket is copied to
    this machine, and looked for again every 30 seconds.
    """
    from pipeline.bundles import place_of
    from pipeline.commands.serve import run_serve
    from pipeline.http.limits import Limits
    from pipeline.http.options import Options

    limits = Limits(threads=threads, rate=rate, queue=queue, seconds=deadline, body_bytes=1024 * body_size)
    place = place_of(bundle)
    raise typer.Exit(run_serve(Options(place.folder, host, port, processes, limits, log_ids), place))


@command(rich_help_panel=_STAGES, epilog=EXAMPLES["plan"])
def plan(
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, store: options.StoreFolder = _ARTIFACTS,
    clusters: options.ClusterCounts = None, rate: options.TokenRate = None, price: options.TokenPrice = None,
    output: options.PlanPlot = None, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Plan stage one before it is paid.

    Says for several numbers of clusters how well their typical users stand for all, which requests were not answered
    yet, and their tokens, time and cost. It asks nothing and loads no LLM, only the tokenizer, but it reads the data
    and encodes the items (stages 1 to 3), which `eimf esim` reuses.
    """
    from pipeline.commands.plan import run_plan

    run_plan(_recipe(dataset, recipe, settings), _open(store), clusters or (), rate, price, output)


@command(rich_help_panel=_EXPERIMENTS, epilog=EXAMPLES["sweep"])
def sweep(
    plan: options.Plan, store: options.StoreFolder = _ARTIFACTS, results: options.Results = None,
    workers: options.Workers = 2,
) -> None:  # fmt: skip
    """Run the trainings of a plan and compare them in a table.

    The table has means over seeds and paired tests over users. Finished trainings are not run again; after an
    interruption the same command resumes.
    """
    from pipeline.commands.sweep import run_plan

    run_plan(plan, _open(store), results, workers)


@command(rich_help_panel=_EXPERIMENTS, epilog=EXAMPLES["search"])
def search(
    plan: options.SearchPlan, store: options.StoreFolder = _ARTIFACTS, results: options.Results = None,
    workers: options.Workers = 2,
) -> None:  # fmt: skip
    """Search settings on validation items only.

    Optuna proposes settings of the plan's space to every variant, as many to each. The best trial of each is then
    trained with every seed, measured on the test items, and compared as by `eimf sweep`. After an interruption the same
    command resumes, and ends where it would have ended.
    """
    from pipeline.commands.search import run_plan

    run_plan(plan, _open(store), results, workers)


@command(rich_help_panel=_EXPERIMENTS, epilog=EXAMPLES["check"])
def check(
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, store: options.StoreFolder = _ARTIFACTS,
    esim: options.EsimKey = None, checkpoint: options.BesideCheckpoint = None,
    vectors: options.Vectors = None, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Check whether the interests say anything new.

    Takes seconds and trains nothing. Says of popularity, co-occurrence, texts, the LLM's interests and their controls
    what each adds to the others: "adds", "adds nothing" or "not shown". With --checkpoint, also beside that model;
    with --vectors, the same of any vectors of your items.
    """
    from pipeline.commands.check import run_check

    run_check(_recipe(dataset, recipe, settings), _open(store), esim, checkpoint, vectors or ())


@command(rich_help_panel=_EXPERIMENTS, epilog=EXAMPLES["backbones"])
def backbones() -> None:
    """List the backbones and their options."""
    from pipeline.report.backbones import show_backbones

    show_backbones()


@command(rich_help_panel=_EXPERIMENTS, epilog=EXAMPLES["compare"])
def compare(
    first: options.FirstTraining, second: options.SecondTraining, store: options.StoreFolder = _ARTIFACTS,
    metrics: options.Metrics = None, slices: options.SliceNames = None, results: options.SweepResults = None,
    esim: options.SliceEsim = None, samples: options.Samples = 10_000, as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Compare two trainings by any metric and slice.

    Reads the stored ranks, and needs no model. Says for each metric and slice whether B is "better" than A, "worse" or
    "not shown", with the difference, its interval, its p, and the smallest gain that would show.
    """
    from pipeline.commands.compare import run_compare

    run_compare(
        _open(store), first, second, metrics or [], slices or [],
        results=results, esim=esim, samples=samples, as_json=as_json,
    )  # fmt: skip


@command(rich_help_panel=_EXPERIMENTS, epilog=EXAMPLES["report"])
def report(
    checkpoints: options.Reported = None, store: options.StoreFolder = _ARTIFACTS, plan: options.ReportPlan = None,
    results: options.ReportResults = None, names: options.ReportNames = None, output: options.ReportPage = _REPORT,
) -> None:  # fmt: skip
    """Show trainings on one page, to be forwarded.

    Those of a store, of a sweep, or with the keys that are given: results with intervals and corrected tests in words,
    slices, training curves, and what the LLM adds. The page is one file without any request. What the store lacks is
    left out and said.
    """
    from pipeline.commands.report import run_report

    run_report(_open(store), output, keys=checkpoints or (), plan=plan, results=results, names=names or ())


app.add_typer(data, name="data", rich_help_panel=_EXPERIMENTS)
app.add_typer(requests, name="requests", rich_help_panel=_STORE)
app.add_typer(replies, name="replies", rich_help_panel=_STORE)


@command(rich_help_panel=_STORE, epilog=EXAMPLES["status"])
def status(store: options.StoreFolder = _ARTIFACTS) -> None:
    """List the artifacts in the store."""
    from pipeline.report.store import show_store

    show_store(_open(store))


@command(rich_help_panel=_STORE, epilog=EXAMPLES["verify"])
def verify(store: options.StoreFolder = _ARTIFACTS) -> None:
    """Check every file in the store against its sha256.

    Reads every LLM reply too. Exits with 2 if anything is damaged, and names it.
    """
    from pipeline.commands.store import run_verify

    run_verify(_open(store))


@command(rich_help_panel=_STORE, epilog=EXAMPLES["recipe"])
def recipe(
    dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None, settings: options.Settings = None
) -> None:
    """Print every setting and its value as JSON."""
    from pipeline.stages.stage_one import check_chosen_backbone

    chosen = _recipe(dataset, recipe, settings)
    check_chosen_backbone(chosen.model)
    info(chosen.model_dump_json(indent=2, exclude={"folder"}))


app.add_typer(store_app, name="store", rich_help_panel=_STORE)

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
        code = app(options.expand_settings(arguments) or ["--help"], prog_name="eimf", standalone_mode=False)
        return int(code or 0) if arguments else 2
    except (typer.Abort, KeyboardInterrupt):
        print_error("eimf: interrupted; the same command resumes")
        return _INTERRUPTED
    except Exception as error:
        reason = explain(error, command=arguments[0] if arguments else "")
        if reason is None:
            raise
        print_error(f"eimf: {reason}")
        return 2
