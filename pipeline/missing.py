"""Packages that are not installed here, and how to install them."""

from eimf.errors import MissingError

_EXTRAS = {
    "data": {"polars", "faiss"},
    "train": {"torch", "pyarrow", "safetensors"},
    "export": {"onnx", "onnxscript", "onnxruntime"},
    "report": {"matplotlib", "cycler"},
    "search": {"optuna"},
    "serve": {"fastapi", "starlette", "uvicorn", "prometheus_client"},
}
"""Packages by the extra that installs them; some are in several."""
_EXTRA_OF_COMMAND = {
    "export": "export", "serve": "serve", "esim": "esim", "extend": "esim", "plan": "esim", "report": "report",
}  # fmt: skip
"""Commands that have an extra of their own."""
_TARGETS = {"data": "esim"}
"""The target of `make` that installs an extra, if its name is another."""


def missing_package(error: ModuleNotFoundError, command: str) -> MissingError | None:
    """The error that says how to install what `eimf COMMAND` lacks; None for a package that no extra has."""
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
    if extra is None:
        return None
    extra = _EXTRA_OF_COMMAND.get(command, extra)
    target = _TARGETS.get(extra, extra)
    without_gpu = ", or .[esim-cpu] without a GPU" if extra == "esim" else ""
    hint = f"run `make {target}`, or pip install -e '.[{extra}]'{without_gpu}"
    return MissingError(package, "not installed here, and this needs it", hint)
