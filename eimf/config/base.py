"""What all settings share, and those that change only the speed."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from eimf.types import Size

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""A name that can be part of a file's name, together with others."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class HashedSettings(_Frozen):
    """A group of settings that change the answer: all of it goes into a stage key."""


class RuntimeSettings(_Frozen):
    """Settings that change only the speed, and the last bits of rounding. Never in a key. (Another device, or number of
    processes, draws other dropout masks too, and `compile` other places for BERT4Rec to hide, as another seed would: a
    result that was found is kept all the same.)"""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where stage two runs. auto: a GPU where torch sees one."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of torch and FAISS. 0: their own choice."""
    encode_batch_size: Size = 256
    """Texts that the encoder works on at a time."""
    reply_chunk_size: Size = 32
    """Finished replies written to the store at a time; a kill loses these and what is being decoded."""
    concurrent_requests: Size = 64
    """LLM requests that are decoded together."""
    cpu_kv_cache_gib: Annotated[float, Field(ge=0.01, le=4096)] = 2.0
    """Memory of vLLM's key-value cache on a CPU machine, GiB."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1)] = 0.85
    """Share of the GPU's memory that vLLM may take."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=1024)] = 1
    """GPUs that one LLM is spread over."""
    softmax_block_rows: Annotated[int, Field(ge=0, le=2**20)] = 0
    """Rows of one block of the full softmax: more of them make fewer, larger products. 0: on a CPU 512, on a GPU as
    many as there are. At most 2^25 logits are held, on a GPU 2^27, or those of 16 rows."""
    eval_batch_size: Size = 1024
    """Most users ranked in one block; on a CPU fewer where their histories are long."""
    compile: bool = False
    """Compile the backbone (torch.compile; needs a C++ compiler on a CPU): pays on a GPU, takes a minute.
    A loss that draws items, with a table of ids alone, leaves the part with the table as it is."""
    deterministic: bool = False
    """Make a GPU repeat itself bit for bit, at some cost; a CPU with a given number of threads always does."""
    save_interval_seconds: Annotated[float, Field(ge=0, le=604_800)] = 60.0
    """Seconds: a training saves its state after every epoch, and in one process this often within one, so a kill loses
    at most so much."""
