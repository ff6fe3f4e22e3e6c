"""The commands of the stages, from raw data to a server."""

from __future__ import annotations

from functools import partial

import typer

from eimf.errors import SettingError
from pipeline.cli.examples import EXAMPLES
from pipeline.cli.given import BUNDLE, DATASET, STORE, recipe_of, store_at
from pipeline.cli.help import STAGES, CommandPage
from pipeline.cli.options import common, serving, stages

stages_app = typer.Typer()
command = partial(stages_app.command, cls=CommandPage, rich_help_panel=STAGES)


@command(epilog=EXAMPLES["demo"])
def demo(store: common.StoreFolder = STORE, settings: common.Settings = None, output: common.Bundle = BUNDLE) -> None:
    """Run both stages on MovieLens-100K and export a bundle.

    Downloads the dataset and two small models, asks the LLM about 38 typical users, and trains SASRec plain, with item
    texts, by the published method, and with the LLM's interests. Takes about five minutes on two CPU cores. Then
    `eimf serve` serves the bundle.
    """
    from pipeline.bundles import check_free, place_of, publish
    from pipeline.commands.demo import run_demo

    check_free(place := place_of(output))
    run_demo(recipe_of(DATASET, None, settings), store_at(store), place.folder)
    publish(place)


@command(epilog=EXAMPLES["esim"])
def esim(
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, store: common.StoreFolder = STORE,
    settings: common.Settings = None,
) -> None:  # fmt: skip
    """Build the frozen artifact from raw data (stage one).

    Reads and splits the data, encodes the items' texts, clusters the users, asks the LLM about the typical user of each
    cluster, and encodes its answers. Stages that are already in the store are reused, and so is every LLM reply. After
    an interruption the same command resumes.
    """
    from pipeline.stages.stage_one import run_esim

    run_esim(recipe_of(dataset, recipe, settings), store_at(store))


@command(epilog=EXAMPLES["extend"])
def extend(
    base: stages.Base, dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None,
    store: common.StoreFolder = STORE, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Continue a frozen artifact with newer data.

    The dataset has all events, old and new. Users and items keep their numbers, and clusters their centroids. The LLM
    is asked about new clusters, and about those whose typical user does not fit any more. Prints how far the data has
    moved. A trained model goes on serving.
    """
    from pipeline.commands.extend import run_extend

    run_extend(recipe_of(dataset, recipe, settings), store_at(store), base)


@command(epilog=EXAMPLES["train"])
def train(
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, store: common.StoreFolder = STORE,
    esim: common.EsimKey = None, backbone: common.Backbone = None, preset: common.Preset = None,
    keep_seen: common.KeepSeen = False, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Train a backbone on the artifact and measure it (stage two).

    Prints NDCG, Recall and MRR on the test events; the store keeps all metrics and all ranks. A training in the store
    is not run again. After an interruption the same command resumes.
    """
    from pipeline.report.results import show_calibration, show_results
    from pipeline.stages.stage_two import run_train, run_worker
    from pipeline.training import processes

    chosen = recipe_of(dataset, recipe, settings, backbone, preset, keep_seen)
    if processes.rank():
        run_worker(chosen, store_at(store), esim)
    else:
        result = run_train(chosen, store_at(store), esim)
        show_results([result])
        show_calibration(result)


@command(epilog=EXAMPLES["evaluate"])
def evaluate(
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, store: common.StoreFolder = STORE,
    esim: common.EsimKey = None, backbone: common.Backbone = None, preset: common.Preset = None,
    keep_seen: common.KeepSeen = False, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Measure a finished training again.

    Give the options of the training; only `evaluate.cutoffs` may differ.
    """
    from pipeline.report.results import show_calibration, show_results
    from pipeline.stages.stage_two import run_evaluate

    result = run_evaluate(recipe_of(dataset, recipe, settings, backbone, preset, keep_seen), store_at(store), esim)
    show_results([result])
    show_calibration(result)


@command(epilog=EXAMPLES["recommend"])
def recommend(
    checkpoint: common.Checkpoint, history: stages.History = None, store: common.StoreFolder = STORE,
    user: stages.User = None, time: stages.Times = None, count: stages.Count = 10, output: stages.Output = None,
    keep_seen: stages.ServeSeen = None,
) -> None:  # fmt: skip
    """Recommend items with a trained backbone.

    Prints item ids, scores and titles. `pipeline.serving.load_recommender` does the same in Python.
    """
    from pipeline.commands import recommend as recommending

    if output is None:
        recommending.show(store_at(store), checkpoint, history or [], time, user, count, keep_seen)
    elif history or user:
        raise SettingError("recommend", "--output together with a history or a user", "ask for one of them")
    else:
        recommending.write_all(store_at(store), checkpoint, output, count, keep_seen)


@command(epilog=EXAMPLES["export"])
def export(
    checkpoint: stages.TrainedCheckpoint = None, output: common.Bundle = BUNDLE,
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, store: common.StoreFolder = STORE,
    esim: stages.LabelKey = None, backbone: common.Backbone = None, preset: common.Preset = None,
    keep_seen: common.KeepSeen = False, settings: common.Settings = None, labels: stages.Labels = True,
    index: stages.IndexKind = None,
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
        chosen = recipe_of(dataset, recipe, settings, backbone, preset, keep_seen)
        checkpoint = find_trained(chosen, store_at(store), esim).key
    elif dataset != DATASET or recipe or settings or backbone or preset or keep_seen:
        raise SettingError("export", "a checkpoint together with options of a training", "give one of them")
    run_export(store_at(store), checkpoint, place.folder, esim=esim, labels=labels, index=index)
    publish(place)


@command(epilog=EXAMPLES["serve"])
def serve(
    bundle: serving.BundleAddress, host: serving.Host = "127.0.0.1", port: serving.Port = 8000,
    processes: serving.Processes = 1, threads: serving.Threads = 1, rate: serving.Rate = None,
    queue: serving.Queue = 64, deadline: serving.Deadline = 5.0, body_size: serving.BodySize = 256,
    log_ids: serving.LogIds = False,
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


@command(epilog=EXAMPLES["plan"])
def plan(
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, store: common.StoreFolder = STORE,
    clusters: stages.ClusterCounts = None, rate: stages.TokenRate = None, price: stages.TokenPrice = None,
    output: stages.PlanPlot = None, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Plan stage one before it is paid.

    Says for several numbers of clusters how well their typical users stand for all, which requests were not answered
    yet, and their tokens, time and cost. It asks nothing and loads no LLM, only the tokenizer, but it reads the data
    and encodes the items (stages 1 to 3), which `eimf esim` reuses.
    """
    from pipeline.commands.plan import run_plan

    run_plan(recipe_of(dataset, recipe, settings), store_at(store), clusters or (), rate, price, output)
