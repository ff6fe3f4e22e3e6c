"""Stages 1 to 5 with hardly any memory for arrays: the same keys and bytes, and no file is left over."""

import pytest

from eimf.store.artifact import Artifact, Store
from pipeline.stages.memory import available_memory
from pipeline.stages.stage_one import run_esim
from tests import world as planted

KINDS = ("dataset", "item_vectors", "user_vectors", "clusters", "typical_users")


def files(artifact: Artifact) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in artifact.manifest.files.items()}


@pytest.mark.parametrize("protocol", ["leave-one-out", "user-split"])
def test_the_artifacts_have_the_same_bytes(tmp_path, protocol):
    folder = planted.world(users=40).write(tmp_path / "data")
    settings = (f"split.protocol={protocol}", "cluster.typical=dense", "cleaning.keep_removed=true")
    whole, bounded = (
        run_esim(planted.recipe(folder, *settings, f"runtime.memory_gb={memory}"), Store(tmp_path / f"store-{memory}"))
        for memory in ("1", "1e-9")
    )
    for kind in KINDS:
        assert bounded[kind].key == whole[kind].key
        assert files(bounded[kind]) == files(whole[kind]), kind
    assert not list((tmp_path / "store-1e-9" / "tmp").iterdir())


def test_the_memory_that_is_available_is_that_of_the_kernel(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:   5 kB\n")
    assert available_memory(tmp_path / "meminfo") == 5 * 1024
    assert available_memory(tmp_path / "none") > 2**20
