"""A short version of `tests/bench/serving_load.py`."""

from functools import partial

import pytest

from tests.bench.serving_load import prepare, trouble
from tests.pipeline.http.clients import Clients
from tests.pipeline.http.server import Server

RATE = 40


@pytest.mark.slow
def test_a_kill_and_reloads_lose_nothing_and_no_answer_mixes_bundles(bundle, tmp_path):
    load = prepare(bundle, tmp_path)
    with Server(load.link, "--processes", "2", "--rate", str(RATE)) as server:
        server.wait_for("listening", 2)
        clients = Clients(server.port, load.bodies, load.expected, connections=16)
        calm = clients.run(1.0, RATE)
        assert set(calm.statuses) == {200} and not (calm.wrong or calm.cut or calm.lost)
        rough = clients.run(1.0, RATE, partial(trouble, load, server))
        assert not (rough.wrong or rough.lost) and set(rough.statuses) <= {200, 429, 503}
        assert set(rough.bundles) == set(load.expected) and len(server.events("process died")) == 2
        crowd = clients.run(1.0, 10 * RATE)
        assert set(crowd.statuses) == {200, 429} and not (crowd.wrong or crowd.cut or crowd.lost)
        assert crowd.statuses[200] < 3 * RATE
        assert not server.events("error") and not server.events("library")
