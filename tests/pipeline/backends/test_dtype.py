"""`dtype = "auto"` depends on the machine; the result is in the keys; replies of another machine are reused."""

import stat
from dataclasses import dataclass

import pytest

from eimf.store import keys
from eimf.store.artifact import Store
from pipeline.backends.dtype import fastest_dtype, gpu_capability, gpu_present
from pipeline.backends.engines import Engines
from pipeline.recipe import load_recipe
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.stage_one import engines_of


@pytest.mark.parametrize(
    ("said", "dtype"), [("9.0\n9.0\n", "bfloat16"), ("8.0\n7.5\n", "float16"), ("Field is not valid", "bfloat16")]
)
def test_what_a_gpu_multiplies(tmp_path, monkeypatch, said, dtype):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    gpu_capability.cache_clear()
    assert gpu_present() and fastest_dtype(on_gpu=True) == dtype
    gpu_capability.cache_clear()


@dataclass
class Machine:
    """A machine whose fastest dtype is this one."""

    dtype: str

    def engines(self, *settings: str, store: Store) -> Engines:
        engines = engines_of(load_recipe("ml-100k", None, list(settings)), store)
        engines._dtype = lambda setting: self.dtype if setting == "auto" else setting  # type: ignore[method-assign]
        return engines


def test_the_identity_holds_the_resolved_dtype_and_a_recipe_may_fix_it(tmp_path):
    a, b, store = Machine("bfloat16"), Machine("float32"), Store(tmp_path)
    dtypes = [machine.engines(store=store).generator_identity["dtype"] for machine in (a, b)]
    assert dtypes == ["bfloat16", "float32"]
    encoders = [machine.engines(store=store).encoder_identity for machine in (a, b)]
    assert encoders[0] == encoders[1]  # float32 by default
    fixed = [machine.engines("llm.dtype=float16", store=store).generator_identity for machine in (a, b)]
    assert fixed[0] == fixed[1] and fixed[0]["dtype"] == "float16"
    # A training node reuses another machine's artifacts: lock files use the settings as written.
    assert settings_behind(load_recipe("ml-100k", None, []), "esim").settings["llm"]["dtype"] == "auto"


def test_replay_takes_the_replies_that_the_store_has(tmp_path):
    there, here, store = Machine("bfloat16"), Machine("float32"), Store(tmp_path)
    replay = ("llm.backend=replay",)
    assert here.engines(*replay, store=store).generator_identity["dtype"] == "float32"  # no replies: ask here
    recorded = there.engines(store=store).generator_identity
    (store.root / "replies" / keys.digest(recorded)).mkdir(parents=True)
    assert here.engines(*replay, store=store).generator_identity == recorded
    assert (
        here.engines(store=store).generator_identity["dtype"] == "float32"
    )  # only replay looks for replies in other dtypes
