"""Errors at the command line: a missing package names the extra that installs it, and the target of make."""

import errno

import pytest

from pipeline.cli.errors import explain


@pytest.mark.parametrize(
    ("module", "command", "target", "extra"),
    [
        ("torch", "train", "train", "train"),
        ("pyarrow.parquet", "status", "train", "train"),
        ("polars", "card", "esim", "data"),
        ("faiss", "demo", "esim", "data"),
        ("faiss", "serve", "serve", "serve"),
        ("onnxruntime", "export", "export", "export"),
        ("torch", "export", "export", "export"),
        ("onnxruntime", "serve", "serve", "serve"),
        ("fastapi", "serve", "serve", "serve"),
        ("optuna", "search", "search", "search"),
    ],
)
def test_a_missing_package_names_what_installs_it(module, command, target, extra):
    line = explain(ModuleNotFoundError(name=module), command)
    package = module.split(".")[0]
    assert (
        line == f"{package}: not installed here, and this needs it; run `make {target}`, or pip install -e '.[{extra}]'"
    )


def test_stage_one_needs_all_of_its_extra_which_a_machine_without_a_gpu_has_under_another_name():
    for command in ("esim", "extend", "plan"):
        line = explain(ModuleNotFoundError(name="polars"), command)
        assert line and line.endswith("run `make esim`, or pip install -e '.[esim]', or .[esim-cpu] without a GPU")


def test_what_is_no_mistake_of_the_user_is_not_explained():
    for error in (ModuleNotFoundError(name="eimf.nothing"), OSError(errno.ECHILD, "no child"), RuntimeError("wrong")):
        assert explain(error, "train") is None


def test_a_disk_is_one_line():
    line = explain(OSError(errno.ENOSPC, "No space left on device", "/data/x"), "train")
    assert line and line.startswith("/data/x: No space left on device; make room")
