"""`eimf serve` as a person starts it: processes, signals, sockets."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eimf.errors import SettingError
from eimf.serving import manifest as names
from pipeline.http.reload import load
from pipeline.http.run import listen
from tests.pipeline.http import bundles
from tests.pipeline.http.server import ROOT, START, Server
from tests.processes import alive, wait_for

pytestmark = pytest.mark.slow
POST = "POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def raw(port: int, data: bytes, *more: bytes, seconds: float = 20) -> bytes:
    """Everything that the server sends until it closes the connection, or is silent for so long."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
            for part in more:
                time.sleep(0.05)
                connection.sendall(part)
            while part := connection.recv(65536):
                received += part
        except (ConnectionError, TimeoutError):
            pass
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", received)]


@pytest.fixture(scope="module")
def server(tmp_path_factory, bundle):
    """Two processes that serve a link, in turns with the tests below."""
    place = tmp_path_factory.mktemp("serve") / "served"
    bundles.put(bundle, place)
    with Server(place, "--processes", "2") as server:
        server.wait_for("listening", 2)
        server.place = place
        yield server


def test_the_processes_load_neither_torch_nor_pyarrow(server):
    for pid in (server.process.pid, *server.pids()):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "libtorch" not in mapped and "libarrow" not in mapped and "polars" not in mapped
    assert "onnxruntime" in mapped and "item_vectors.npy" in mapped


def test_what_is_no_request_is_answered_and_closed(server):
    huge = b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"x: " + b"x" * 20_000
    assert statuses(raw(server.port, huge)) == [431]
    assert statuses(raw(server.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")) == [400]
    chunked = (POST + "transfer-encoding: chunked\r\n\r\n").encode()
    assert statuses(raw(server.port, chunked, b"no length\r\n"))[:1] in ([400], [])
    both = (POST + "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n").encode() + b"0\r\n\r\n"
    assert len(statuses(raw(server.port, both, seconds=0.5))) <= 1  # no second request is smuggled in
    close = f"{POST}connection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode()
    assert statuses(raw(server.port, close)) == [200]
    pipelined = f"{POST}content-length: 2\r\n\r\n{{}}".encode() + close
    assert statuses(raw(server.port, pipelined)) == [200, 200]
    assert not server.events("library")


def test_a_client_that_goes_before_its_request_is_complete_is_no_error(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"{POST}content-length: 20\r\n\r\n".encode() + b'{"count"')
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )  # a reset, not an orderly end
    assert wait_for(lambda: 'route="/recommend",status="499"' in server.get("/metrics"))
    assert {line["reason"] for line in server.events("request") if line["status"] == 499} == {"gone"}
    assert not server.events("error") and not server.events("library")


def test_a_port_is_taken_before_a_bundle_is_loaded():
    with listen("127.0.0.1", 0) as listener, pytest.raises(SettingError, match="choose another address"):
        listen("127.0.0.1", listener.getsockname()[1])


def test_metrics_are_those_of_all_processes(server):
    before = server.metric("eimf_histories_total")
    for _ in range(20):
        assert statuses(raw(server.port, f"{POST}connection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())) == [200]
    assert server.metric("eimf_histories_total") == before + 20
    assert server.metric("eimf_bundle_processes") == 2


def test_a_new_bundle_reaches_all_processes_at_a_signal(server, other):
    bundles.put(other, server.place)
    server.process.send_signal(signal.SIGHUP)
    loaded = {server.wait_for("bundle loaded", count)["bundle"] for count in (3, 4)}
    assert loaded == {load(other).name} == {json.loads(server.get("/ready"))["bundle"]}


def test_a_killed_process_is_replaced_and_what_was_counted_stays(server):
    counted, killed = server.metric("eimf_histories_total"), server.pids()[0]
    os.kill(killed, signal.SIGKILL)
    server.wait_for("process died")
    server.wait_for("listening", 3)
    assert len(server.pids()) == 2 and killed not in server.pids()
    assert server.metric("eimf_histories_total") == counted
    assert wait_for(lambda: server.metric("eimf_bundle_processes") == 2)


def test_requests_in_progress_are_answered_before_the_end(server):
    """The head and half of the body have come when the signal does."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"{POST}content-length: 20\r\n\r\n".encode() + b'{"count"')
        time.sleep(0.3)
        folder = next(Path(part) for part in _environment(server.pids()[0]) if "eimf-serve-" in part)
        pids = server.pids()
        server.process.terminate()
        time.sleep(0.3)
        with pytest.raises(ConnectionError):  # nobody else is taken
            for _ in range(100):
                time.sleep(0.05)
                socket.create_connection(("127.0.0.1", server.port), timeout=20).close()
        connection.sendall(b":  3       }")
        assert statuses(connection.recv(65536)) == [200]
    assert server.process.wait(20) == 0
    assert not any(map(alive, pids)) and not folder.exists()
    assert len(server.events("stopped")) == 2


def test_a_signal_to_reload_does_not_end_it_while_it_loads(bundle):
    server = Server(bundle)
    assert wait_for(lambda: _is_handled(server.process.pid, signal.SIGHUP))
    server.process.send_signal(signal.SIGHUP)
    with server:
        assert "ready" in server.get("/ready")


def _is_handled(pid: int, signum: int) -> bool:
    """Whether a process ignores or catches a signal."""
    masks = re.findall(r"^Sig(?:Ign|Cgt):\t(.*)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) >> (signum - 1) & 1 for mask in masks)


def _environment(pid: int) -> list[str]:
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return [variable.partition("=")[2] for variable in variables]


def test_processes_whose_parent_is_killed_end_and_clean_up(bundle):
    with Server(bundle, "--processes", "2") as server:
        server.wait_for("listening", 2)
        pids = server.pids()
        folder = next(Path(part) for part in _environment(pids[0]) if "eimf-serve-" in part)
        assert folder.is_dir()
        server.process.kill()
        assert wait_for(lambda: not any(map(alive, pids)) and not folder.exists())


@pytest.mark.parametrize("given, used", [(None, "1"), ("3", "3")])
def test_a_request_is_computed_by_one_thread_unless_the_environment_says_otherwise(monkeypatch, given, used):
    """OpenBLAS and FAISS read the variable when they are loaded."""
    code = """
import os, sys
from pipeline.cli import run
before = "numpy" in sys.modules or "faiss" in sys.modules
assert run(["serve", "no bundle", "--port", "0"]) == 2 and "numpy" in sys.modules
print(before, os.environ["OMP_NUM_THREADS"])
"""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split() == ["False", used]


def test_a_broken_bundle_or_a_taken_port_is_one_line(bundle, tmp_path):
    broken = bundles.copy(bundle, tmp_path / "broken")
    (broken / names.TOWER).write_bytes(b"no model")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ([str(broken), "--port", "0"], names.TOWER),
            ([str(broken), "--port", "0", "--processes", "2"], names.TOWER),
            ([str(bundle), "--port", port], f"127.0.0.1 {port}: Address already in use"),
        ):
            command = [sys.executable, "-c", START, "serve", *arguments]
            result = subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
            )
            assert result.returncode == 2 and result.stdout == ""
            assert result.stderr.startswith("eimf: ") and words in result.stderr and result.stderr.count("\n") == 1
