import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eimf.store import keys

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def test_golden_keys():
    # Pinned: a change here means that every artifact ever built is orphaned. printf '{...}' | sha256sum gives the same.
    assert keys.canonical({"b": 1, "a": [0.5, "\u00e9"]}) == b'{"a":[0.5,"\\u00e9"],"b":1}'
    assert keys.digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    key = keys.stage_key("clusters", 1, {"user_vectors": "ab"}, {"cluster": {"seed": 1}})
    assert key == "1b0429dce9ede9de15341a7c91839d78973146ae7c69ea59cf483e6c524b1b57"
    assert (
        keys.request_key({"model": "m"}, "hello") == "9ccdf58b75608777af390a7419a8f643a4c58c995c90273de8ed7b2d2eaa5f9c"
    )


def test_keys_are_the_same_in_another_process_and_hash_seed():
    code = 'from eimf.store.keys import digest; print(digest({"z": {"y": 1, "x": 2}}))'
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == keys.digest({"z": {"x": 2, "y": 1}}) + "\n"


def in_order(value):
    """The value with the entries of every object sorted by name."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(each) for each in value] if isinstance(value, list) else value


@given(JSON, JSON)
def test_different_values_have_different_keys(a, b):
    # JSON tells true from 1 and 1 from 1.0, Python's == does not.
    assert (keys.digest(a) == keys.digest(b)) == (repr(in_order(a)) == repr(in_order(b)))


def test_nan_has_no_key():
    with pytest.raises(ValueError, match="JSON compliant"):
        keys.digest({"lr": float("nan")})


def test_every_part_of_a_stage_is_in_its_key():
    base = keys.stage_key("k", 1, {"p": "x"}, {"c": 1})
    others = [
        keys.stage_key("j", 1, {"p": "x"}, {"c": 1}),
        keys.stage_key("k", 2, {"p": "x"}, {"c": 1}),
        keys.stage_key("k", 1, {"p": "y"}, {"c": 1}),
        keys.stage_key("k", 1, {"p": "x"}, {"c": 2}),
    ]
    assert len({base, *others}) == 5


def paths_to_scalars(value: Any) -> list[tuple[Any, ...]]:
    """The names and numbers that lead to every scalar of a configuration."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [(key, *rest) for key, inner in entries for rest in paths_to_scalars(inner)]
    return [()]


def with_scalar(value: Any, path: tuple[Any, ...], scalar: Any) -> Any:
    """The configuration with another scalar at the end of a path."""
    if not path:
        return scalar
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_scalar(value[path[0]], path[1:], scalar)
    return copy


def reordered(value: Any) -> Any:
    """The configuration with the entries of every object in the reverse order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=3), JSON, min_size=1, max_size=4), SCALARS, st.data())
def test_a_stage_key_changes_with_every_scalar_and_not_with_the_order(configuration, scalar, data):
    key = keys.stage_key("kind", 1, {"parent": "ab"}, configuration)
    assert keys.stage_key("kind", 1, {"parent": "ab"}, reordered(configuration)) == key
    assume(paths := paths_to_scalars(configuration))
    other = with_scalar(configuration, data.draw(st.sampled_from(paths)), scalar)
    same = json.dumps(other, sort_keys=True) == json.dumps(configuration, sort_keys=True)
    assert (keys.stage_key("kind", 1, {"parent": "ab"}, other) == key) is same
