"""Options that several commands share: the data, its recipe, the store, and what a training is."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options.option import DATA, OUTPUT, SETTINGS, option


def _dataset_names(incomplete: str) -> list[str]:
    """What a shell offers after --dataset: built-in recipes, folders and files."""
    from pipeline.recipe import built_in_recipes

    paths = [f"{path}/" if path.is_dir() else str(path) for path in Path().glob(f"{incomplete}*")] if incomplete else []
    return [name for name in built_in_recipes() if name.startswith(incomplete)] + paths


Dataset = Annotated[
    str,
    option(
        "--dataset",
        "-d",
        panel=DATA,
        metavar="NAME|PATH",
        autocompletion=_dataset_names,
        help="Built-in dataset, or a folder, zip or file: `eimf data formats` lists what it may hold.",
    ),
]
RecipeFile = Annotated[
    Path | None, option("--recipe", "-r", panel=DATA, metavar="FILE", help="TOML recipe, used instead of --dataset.")
]
StoreFolder = Annotated[
    str,
    option(
        "--store",
        "-s",
        panel=DATA,
        metavar="FOLDER|URL",
        help="Folder that holds all artifacts, or s3://BUCKET/PREFIX.",
    ),
]
EsimKey = Annotated[
    str | None,
    option(
        "--esim", "-e", panel=DATA, metavar="KEY", help="ESIM artifact to use.  [default: the one made from the recipe]"
    ),
]
Backbone = Annotated[
    str | None, option("--backbone", "-b", panel=SETTINGS, metavar="NAME", help="Same as --set model.backbone=NAME.")
]
Preset = Annotated[
    str | None,
    option(
        "--preset",
        "-p",
        panel=SETTINGS,
        metavar="NAME",
        help="Same as --set heads.preset=NAME: plain, init, text, paper or modern.",
    ),
]
KeepSeen = Annotated[
    bool,
    option(
        "--keep-seen",
        panel=SETTINGS,
        help="Same as --set evaluate.keep_seen=true: recommend items that the user already had, too.",
    ),
]
Settings = Annotated[
    list[str] | None,
    option(
        "--set",
        "-S",
        panel=SETTINGS,
        metavar="KEY=VALUE",
        help="Change one setting of the recipe, such as train.lr=5e-4. Repeatable.",
    ),
]
AsJson = Annotated[bool, option("--json", panel=OUTPUT, help="Print every figure as JSON instead.")]
Bundle = Annotated[
    str,
    option(
        "--output",
        "-o",
        panel=OUTPUT,
        metavar="BUNDLE",
        help="Folder of the bundle or s3://BUCKET/PREFIX: a new one, or a bundle to be replaced.",
    ),
]
Checkpoint = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT", help="Key of a checkpoint or calibration, as `eimf train` and `eimf status` print it."
    ),
]
