"""Settings that were renamed, so that an old recipe's error says what to write."""

RENAMED = {
    "heads.align_items": "heads.alignment.items",
    "heads.align_users": "heads.alignment.users",
    "heads.semantic": "heads.alignment.semantic",
    "heads.smooth_history": "heads.smoothing.user",
    "heads.smooth_interests": "heads.smoothing.interest",
    "heads.smooth_text": "heads.smoothing.item",
    "heads.table": "heads.item_init",
    "speed": "runtime",
    "speed.chunk": "runtime.reply_chunk_size",
    "speed.encode_batch": "runtime.encode_batch_size",
    "speed.gpu_memory": "runtime.gpu_memory_utilization",
    "speed.in_flight": "runtime.concurrent_requests",
    "speed.kv_cache_gb": "runtime.cpu_kv_cache_gib",
    "speed.loss_rows": "runtime.softmax_block_rows",
    "speed.rank_users": "runtime.eval_batch_size",
    "speed.save_seconds": "runtime.save_interval_seconds",
    "speed.tensor_parallel": "runtime.tensor_parallel_size",
    "train.context": "train.window_overlap",
    "typical": "cluster",
    "typical.min_history": "cluster.min_typical_history",
}
"""New name by old name, since 0.2."""
RENAMED_IN_0_4 = {"dataset.bad_rows": "cleaning.bad_rows", "dataset.min_events": "cleaning.min_events"}
"""The same, since 0.4."""
_WEIGHED = "removed in 0.5: calibration weighs the interests; heads.smoothing.interest=0.1 trains with them"
REMOVED = {"heads.gate": _WEIGHED, "heads.require_gain": _WEIGHED}
"""What to do instead of a setting that is gone."""
CONSTANT = {
    "heads.contrast_items",
    "heads.neighbours",
    "heads.positions",
    "heads.smooth_fade",
    "heads.smooth_temperature",
    "heads.temperature",
    "heads.text_features",
    "heads.text_scale",
}
"""Settings that are constants since 0.2."""


def renamed_hint(name: str, value: object) -> str | None:
    """What to write instead of the unknown setting or section `name`, if it was renamed."""
    if name in CONSTANT:
        return "leave it out: it is a constant since 0.2"
    if name in REMOVED:
        return REMOVED[name]
    if name in RENAMED_IN_0_4:
        return f"renamed in 0.4: use {RENAMED_IN_0_4[name]}"
    parts = [f"{name}.{part}" for part in value] if isinstance(value, dict) else []
    new = [RENAMED[old] for old in parts if old in RENAMED] or [RENAMED[old] for old in (name,) if old in RENAMED]
    return f"renamed in 0.2: use {', '.join(new)}" if new else None
