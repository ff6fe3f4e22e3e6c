"""Options of the groups `data`, `requests`, `replies` and `store`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options.option import DATA, OUTPUT, option

FormatNames = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Formats to list.  [default: all]")]
DatasetKey = Annotated[
    str | None,
    typer.Argument(metavar="KEY", help="Key of a dataset in the store.  [default: that of --dataset or --recipe]"),
]
CardPage = Annotated[
    Path | None, option("--output", "-o", panel=OUTPUT, metavar="FILE", help="Write a page with plots too: card.html.")
]
RequestsFile = Annotated[
    Path, option("--output", "-o", panel=OUTPUT, metavar="FILE", help="The new batch file, as JSON lines.")
]
ReplyFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", help="Answered batch files, or tables (.parquet, .csv, .jsonl) with request_key and reply."
    ),
]
Kind = Annotated[str | None, typer.Argument(metavar="KIND", help="Kind of artifacts, such as esim.  [default: all]")]
AnyKey = Annotated[str, typer.Argument(metavar="KEY", help="Key of any artifact, in full or shortened, or KIND/KEY.")]
OtherStore = Annotated[str, typer.Argument(metavar="STORE", help="The other store: a folder or s3://BUCKET/PREFIX.")]
Purpose = Annotated[
    str, option("--for", panel=DATA, metavar="PURPOSE", help="Copy only what it needs: all, train or serve.")
]
PackPurpose = Annotated[
    str | None,
    option(
        "--for",
        panel=DATA,
        metavar="PURPOSE",
        help="Pack only what it needs: all, train or serve.  [default: what the next stage reads]",
    ),
]
Archive = Annotated[
    Path, option("--output", "-o", panel=OUTPUT, metavar="FILE", help="The archive to write, such as esim.tar.")
]
ArchiveFile = Annotated[Path, typer.Argument(metavar="FILE", help="Archive that `eimf store pack` wrote.")]
Keep = Annotated[
    list[str] | None, option("--keep", panel=DATA, metavar="KEY", help="Keep only this and its ancestors. Repeatable.")
]
Days = Annotated[
    float, option("--days", panel=DATA, metavar="N", min=0, help="Keep what is younger, and what it was built from.")
]
Yes = Annotated[bool, option("--yes", panel=OUTPUT, help="Remove them.")]
