"""Arguments and options of the commands, each declared once."""

import math
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

_DATA, _SETTINGS, _INPUT, _OUTPUT = "Data", "Settings", "Input", "Output"
_ADDRESS, _LOAD = "Address", "Load"


def _dataset_names(incomplete: str) -> list[str]:
    """What a shell offers after --dataset: built-in recipes, folders and files."""
    from pipeline.recipe import built_in_recipes

    paths = [f"{path}/" if path.is_dir() else str(path) for path in Path().glob(f"{incomplete}*")] if incomplete else []
    return [name for name in built_in_recipes() if name.startswith(incomplete)] + paths


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eimf {metadata.version('eimf')}")
        raise typer.Exit


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def expand_settings(given: list[str]) -> list[str]:
    """`--settings TEXT` as a `--set` for each setting in the text, which `make` has in one variable."""
    arguments: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":  # from here on no option
            return [*arguments, argument, *rest]
        if argument == "--settings":
            from pipeline.recipe import split_settings

            arguments += [part for setting in split_settings(next(rest, "")) for part in ("--set", setting)]
        else:
            arguments.append(argument)
    return arguments


def _option(*names: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **more)


Dataset = Annotated[
    str,
    _option(
        "--dataset",
        "-d",
        panel=_DATA,
        metavar="NAME|PATH",
        autocompletion=_dataset_names,
        help="Built-in dataset, or a folder, zip or file: `eimf data formats` lists what it may hold.",
    ),
]
RecipeFile = Annotated[
    Path | None, _option("--recipe", "-r", panel=_DATA, metavar="FILE", help="TOML recipe, used instead of --dataset.")
]
StoreFolder = Annotated[
    str,
    _option(
        "--store",
        "-s",
        panel=_DATA,
        metavar="FOLDER|URL",
        help="Folder that holds all artifacts, or s3://BUCKET/PREFIX.",
    ),
]
BesideCheckpoint = Annotated[
    str | None,
    _option(
        "--checkpoint",
        panel=_DATA,
        metavar="KEY",
        help="Checkpoint of this dataset, in full or shortened: what do the sources add to its score?",
    ),
]
Vectors = Annotated[
    list[str] | None,
    _option(
        "--vectors",
        panel=_DATA,
        metavar="NAME=FILE",
        help="Parquet file with item_id and vector to check as well; may be given several times.",
    ),
]
EsimKey = Annotated[
    str | None,
    _option(
        "--esim",
        "-e",
        panel=_DATA,
        metavar="KEY",
        help="ESIM artifact to use.  [default: the one made from the recipe]",
    ),
]
Backbone = Annotated[
    str | None, _option("--backbone", "-b", panel=_SETTINGS, metavar="NAME", help="Same as --set model.backbone=NAME.")
]
Preset = Annotated[
    str | None,
    _option(
        "--preset",
        "-p",
        panel=_SETTINGS,
        metavar="NAME",
        help="Same as --set heads.preset=NAME: plain, init, text, paper or modern.",
    ),
]
KeepSeen = Annotated[
    bool,
    _option(
        "--keep-seen",
        panel=_SETTINGS,
        help="Same as --set evaluate.keep_seen=true: recommend items that the user already had, too.",
    ),
]
Settings = Annotated[
    list[str] | None,
    _option(
        "--set",
        "-S",
        panel=_SETTINGS,
        metavar="KEY=VALUE",
        help="Change one setting of the recipe, such as train.lr=5e-4. Repeatable.",
    ),
]
FormatNames = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Formats to list.  [default: all]")]
DatasetKey = Annotated[
    str | None,
    typer.Argument(metavar="KEY", help="Key of a dataset in the store.  [default: that of --dataset or --recipe]"),
]
CardPage = Annotated[
    Path | None,
    _option("--output", "-o", panel=_OUTPUT, metavar="FILE", help="Write a page with plots too: card.html."),
]
AsJson = Annotated[bool, _option("--json", panel=_OUTPUT, help="Print every figure as JSON instead.")]
ClusterCounts = Annotated[
    list[int] | None,
    _option(
        "--clusters",
        "-c",
        panel=_INPUT,
        metavar="N",
        min=1,
        help="A number of clusters. Repeatable.  [default: an eighth to four times that of the recipe]",
    ),
]
TokenRate = Annotated[
    float | None,
    _option(
        "--rate",
        panel=_INPUT,
        metavar="N",
        callback=_finite,
        help="Tokens of prompts and replies that the LLM takes a second.  [default: as in earlier runs]",
    ),
]
TokenPrice = Annotated[
    str | None,
    _option(
        "--price",
        panel=_INPUT,
        metavar="IN/OUT",
        help="Price of a million tokens of prompts, and of replies: 0.15/0.60.",
    ),
]
PlanPlot = Annotated[
    Path | None, _option("--output", "-o", panel=_OUTPUT, metavar="FILE", help="Draw the plan too: plan.svg.")
]
Plan = Annotated[Path, typer.Argument(metavar="PLAN", help="TOML plan: recipes, backbones, seeds, variants.")]
SearchPlan = Annotated[
    Path, typer.Argument(metavar="PLAN", help="TOML plan: that of a sweep, with a space of settings and a budget.")
]
Results = Annotated[
    Path | None,
    _option(
        "--results",
        "-o",
        panel=_OUTPUT,
        metavar="FOLDER",
        help="Folder for the results and the table.  [default: named like the plan, next to it]",
    ),
]
Workers = Annotated[
    int,
    _option("--workers", "-w", panel="Resources", metavar="N", min=1, help="Trainings at a time, one CPU thread each."),
]
ReportPage = Annotated[
    Path, _option("--output", "-o", panel=_OUTPUT, metavar="FILE", help="The page.", show_default="report.html")
]
ReportPlan = Annotated[
    Path | None,
    _option("--plan", panel=_INPUT, metavar="PLAN", help="TOML plan of a sweep, whose results are next to it."),
]
ReportResults = Annotated[
    Path | None,
    _option(
        "--results",
        panel=_INPUT,
        metavar="FOLDER",
        help="Folder of the plan's results.  [default: named like the plan]",
    ),
]
ReportNames = Annotated[
    list[str] | None,
    _option(
        "--name",
        panel=_INPUT,
        metavar="KEY=NAME",
        help="What a dataset is called, by the beginning of its key. Repeat it.",
    ),
]
Reported = Annotated[
    list[str] | None,
    typer.Argument(metavar="CHECKPOINT...", help="Keys of checkpoints or calibrations.  [default: all in the store]"),
]
Base = Annotated[
    str,
    typer.Argument(
        metavar="ESIM", help="Key of the ESIM artifact to go on with, as `eimf esim` and `eimf status` print it."
    ),
]
FirstTraining = Annotated[
    str, typer.Argument(metavar="A", help="Metrics, checkpoint or calibration; with commas, one for each seed.")
]
SecondTraining = Annotated[str, typer.Argument(metavar="B", help="What is compared with A, in the same form.")]
Metrics = Annotated[
    list[str] | None,
    _option(
        "--metric",
        "-m",
        panel=_SETTINGS,
        metavar="NAME@K",
        help="Metric and cut-off; may be given several times.  [default: ndcg@10]",
    ),
]
SliceNames = Annotated[
    list[str] | None,
    _option(
        "--slice",
        panel=_SETTINGS,
        metavar="GROUP[:LABEL]",
        help="Such as history:short, history for its parts, or every; may be given several times.  [default: all]",
    ),
]
Samples = Annotated[
    int,
    _option(
        "--samples", panel=_SETTINGS, min=100, max=10_000_000, metavar="NUMBER", help="Bootstrap samples of the users."
    ),
]
SweepResults = Annotated[
    Path | None,
    _option("--results", panel=_DATA, metavar="FOLDER", help="Results of a sweep, of which A and B are variants."),
]
SliceEsim = Annotated[
    str | None,
    _option(
        "--esim",
        "-e",
        panel=_DATA,
        metavar="KEY",
        help="ESIM artifact of the slices read and typical.  [default: that of A and B]",
    ),
]
Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT", help="Key of a checkpoint or calibration, as `eimf train` and `eimf status` print it."
    ),
]
TrainedCheckpoint = Annotated[
    str | None,
    typer.Argument(
        metavar="CHECKPOINT", help="Key of a checkpoint or calibration.  [default: the one that the options train]"
    ),
]
History = Annotated[
    list[str] | None,
    typer.Argument(metavar="ITEM", help="Item ids, oldest first. Put -- before ids that begin with a dash."),
]
User = Annotated[
    str | None, _option("--user", "-u", panel=_INPUT, metavar="ID", help="A user of the dataset, instead of items.")
]
Times = Annotated[
    list[float] | None,
    _option(
        "--time",
        "-t",
        panel=_INPUT,
        metavar="SECONDS",
        help="Time of an item, for backbones that use times. Repeat once per item.",
    ),
]
Count = Annotated[
    int, _option("--count", "-n", panel=_OUTPUT, metavar="N", min=1, help="Number of items to recommend.")
]
Output = Annotated[
    Path | None,
    _option(
        "--output",
        "-o",
        panel=_OUTPUT,
        metavar="FILE",
        help="Recommend to every user of the dataset, and write a .parquet, .csv or .jsonl file.",
    ),
]
RequestsFile = Annotated[
    Path, _option("--output", "-o", panel=_OUTPUT, metavar="FILE", help="The new batch file, as JSON lines.")
]
ReplyFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="Answered batch files, or tables (.parquet, .csv, .jsonl) with request_key and reply."
    ),
]
ServeSeen = Annotated[
    bool | None,
    _option(
        "--keep-seen/--no-keep-seen",
        panel=_OUTPUT,
        help="Recommend items of the history again, or never.  [default: as in training]",
    ),
]
Bundle = Annotated[
    str,
    _option(
        "--output",
        "-o",
        panel=_OUTPUT,
        metavar="BUNDLE",
        help="Folder of the bundle or s3://BUCKET/PREFIX: a new one, or a bundle to be replaced.",
    ),
]
LabelKey = Annotated[
    str | None,
    _option(
        "--esim",
        "-e",
        panel=_DATA,
        metavar="KEY",
        help="ESIM artifact whose interests are the labels.  [default: that of the training, or else the newest of the "
        "dataset]",
    ),
]
Labels = Annotated[bool, _option("--labels/--no-labels", panel=_OUTPUT, help="Whether to name interests.")]
IndexKind = Annotated[
    str | None,
    _option(
        "--index",
        panel=_OUTPUT,
        metavar="KIND",
        help="exact, hnsw or ivfpq.  [default: exact, or hnsw for a large catalogue]",
    ),
]
BundleAddress = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="Folder that `eimf export` wrote, or a link to it, or s3://BUCKET/PREFIX."),
]
Host = Annotated[str, _option("--host", panel=_ADDRESS, metavar="NAME", help="Address to listen at; 0.0.0.0 is all.")]
Port = Annotated[
    int, _option("--port", panel=_ADDRESS, metavar="N", min=0, max=65_535, help="Port; 0 is any that is free.")
]
ServeProcesses = Annotated[
    int, _option("--processes", panel=_LOAD, metavar="N", min=1, max=256, help="Processes that serve the port.")
]
Threads = Annotated[
    int,
    _option("--threads", panel=_LOAD, metavar="N", min=1, max=256, help="Requests that a process computes at a time."),
]
Rate = Annotated[
    float | None,
    _option(
        "--rate",
        panel=_LOAD,
        metavar="N",
        min=0.001,
        callback=_finite,
        help="Requests a second, of all processes; above, the answer is 429.  [default: any]",
    ),
]
Queue = Annotated[
    int,
    _option(
        "--queue", panel=_LOAD, metavar="N", min=1, help="Requests of a process that wait; above, the answer is 503."
    ),
]
Deadline = Annotated[
    float,
    _option(
        "--deadline",
        panel=_LOAD,
        metavar="SECONDS",
        min=0.001,
        callback=_finite,
        help="Time for an answer; then it is 503.",
    ),
]
BodySize = Annotated[
    int, _option("--body-size", panel=_LOAD, metavar="KB", min=1, max=16_384, help="Largest body of a request.")
]
LogIds = Annotated[bool, typer.Option("--log-ids", help="Log the ids of histories and named interests, too.")]
Kind = Annotated[str | None, typer.Argument(metavar="KIND", help="Kind of artifacts, such as esim.  [default: all]")]
AnyKey = Annotated[str, typer.Argument(metavar="KEY", help="Key of any artifact, in full or shortened, or KIND/KEY.")]
OtherStore = Annotated[str, typer.Argument(metavar="STORE", help="The other store: a folder or s3://BUCKET/PREFIX.")]
Purpose = Annotated[
    str, _option("--for", panel=_DATA, metavar="PURPOSE", help="Copy only what it needs: all, train or serve.")
]
PackPurpose = Annotated[
    str | None,
    _option(
        "--for",
        panel=_DATA,
        metavar="PURPOSE",
        help="Pack only what it needs: all, train or serve.  [default: what the next stage reads]",
    ),
]
Archive = Annotated[
    Path, _option("--output", "-o", panel=_OUTPUT, metavar="FILE", help="The archive to write, such as esim.tar.")
]
ArchiveFile = Annotated[Path, typer.Argument(metavar="FILE", help="Archive that `eimf store pack` wrote.")]
Keep = Annotated[
    list[str] | None,
    _option("--keep", panel=_DATA, metavar="KEY", help="Keep only this and its ancestors. Repeatable."),
]
Days = Annotated[
    float, _option("--days", panel=_DATA, metavar="N", min=0, help="Keep what is younger, and what it was built from.")
]
Yes = Annotated[bool, _option("--yes", panel=_OUTPUT, help="Remove them.")]
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]
