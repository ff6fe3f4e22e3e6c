"""Schemathesis asks what the OpenAPI document allows, and what it does not, and finds nothing."""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.pipeline.http.server import WITH_LIMITS, Server

EXAMPLES = int(os.environ.get("EIMF_EXAMPLES", 4))
"""Of each route; `EIMF_EXAMPLES=500 pytest tests/pipeline/http/test_openapi.py` tries more."""
LIMITS = {"head_bytes": 1 << 22, "body_bytes": 1 << 24, "buffered_bytes": 1 << 26}
"""Schemathesis takes 413 and 431 for the acceptance of a wrong request."""
WITH_INPUT = {"/recommend", "/recommend/batch", "/menu", "/items"}


@pytest.fixture(scope="module")
def schema(bundle):
    with Server(bundle, start=WITH_LIMITS, before=[json.dumps(LIMITS)]) as server:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
        assert not server.events("error") and not server.events("library")


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_the_service_keeps_to_its_openapi_document(schema, mode):
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert {operation.path for operation in operations} == WITH_INPUT | {"/bundle", "/health", "/ready", "/metrics"}
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.path not in WITH_INPUT:
            continue  # there is nothing to do wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.explicit]
        )
        def check(case):
            if mode is GenerationMode.POSITIVE:
                _give_as_many_times_as_events(case.body)
            case.call_and_validate()

        check()


def _give_as_many_times_as_events(body: object) -> None:
    """JSON Schema cannot say that two lists have the same length."""
    for request in body.get("requests", [body]) if isinstance(body, dict) else ():
        if request.get("times") is not None:
            request["times"] = [1.0] * len(request.get("history", ()))
