"""Settings of the machine: they change the speed, not the result."""

from typing import Annotated, Literal

from pydantic import Field

from eimf.config.base import Settings
from eimf.types import Size


class RuntimeSettings(Settings):
    """Settings that change only the speed and the last bits of rounding. They are in no key. Another device, number of
    processes, or `compile` changes the random streams, like another seed, but does not invalidate existing results."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where stage two runs. auto: a GPU if torch sees one."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of torch and FAISS. 0: their defaults."""
    memory_gb: Annotated[float, Field(ge=0, le=2**20)] = 0
    """Memory that stages 1 to 5 may take for arrays of events and of vectors; further ones are in temporary files of
    the store. 0: half of what is available at their start."""
    engine: Literal["vllm", "ray", "http"] = "vllm"
    """Where the LLM runs. vllm: in this process. ray: on a Ray cluster, one replica of vLLM a GPU. http: behind a
    server with OpenAI's interface (`endpoint`)."""
    endpoint: str | None = None
    """Base URL of that server, such as http://gpu-box:8000/v1. If it wants a key, export EIMF_API_KEY: no setting holds
    it."""
    served_model: str | None = None
    """Name of `llm.model` on that server. Unset: the hub id, or the only model that it serves."""
    request_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """The longest that one request to that server may take. Without any reply for twice as long, the run stops."""
    ray_address: str | None = None
    """Ray cluster, as host:port of its head, or auto for the one that this machine belongs to. Without it: RAY_ADDRESS,
    or a cluster of this machine alone."""
    replicas: Annotated[int, Field(ge=0, le=4096)] = 0
    """Replicas of the LLM on Ray, with `tensor_parallel_size` GPUs each. 0: as many as the cluster has GPUs for;
    without a GPU, one for each machine."""
    reply_deadline_seconds: Annotated[float, Field(ge=1, le=604_800)] = 600.0
    """A replica on Ray that finishes no reply for so long is ended, and its requests are sent to another one."""
    encode_batch_size: Size = 256
    """Texts that are encoded at a time."""
    reply_chunk_size: Size = 32
    """Finished replies written to the store at a time; a kill loses these and those being decoded."""
    concurrent_requests: Size = 64
    """LLM requests that are decoded at a time."""
    cpu_kv_cache_gib: Annotated[float, Field(ge=0.01, le=4096)] = 2.0
    """Memory of vLLM's key-value cache on a CPU machine, GiB."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1)] = 0.85
    """Share of the GPU's memory that vLLM may take."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=1024)] = 1
    """GPUs that one LLM is spread over."""
    softmax_block_rows: Annotated[int, Field(ge=0, le=2**20)] = 0
    """Rows of a block of the full softmax: more rows make fewer, larger matrix products. 0: 512 on a CPU, all of them
    on a GPU. At most 2^25 logits are held at a time (2^27 on a GPU), or those of 16 rows."""
    eval_batch_size: Size = 1024
    """Most users ranked at a time; fewer on a CPU if their histories are long."""
    compile: bool = False
    """Compile the backbone with torch.compile: takes a minute, pays off on a GPU, needs a C++ compiler on a CPU. With a
    loss that samples items and without a text residual, the item table is not compiled."""
    shard_items: bool = False
    """Spread the item table and its optimizer state over the processes of a training (torchrun), for a catalogue that
    exceeds one device. Items are then looked up and scored across the network."""
    deterministic: bool = False
    """Make results on a GPU repeatable bit for bit, at some cost. On a CPU they always are, for the same number of
    threads."""
    save_interval_seconds: Annotated[float, Field(ge=0, le=604_800)] = 60.0
    """A training saves its state after every epoch and this often within one: the most that a kill loses, in seconds.
    Several processes save at every 16th step only."""
