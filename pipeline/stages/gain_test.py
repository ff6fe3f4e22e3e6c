"""The interest gain test: the LLM's interests enter a training's soft targets only if they tell more about what users
do next than everything that is known without them.

This is our decision: on the data sets measured, interests without such a gain make backbones with several vectors per
user worse. A training that leaves them out has the same key as one that never asked for them. Controls pass or fail
together with the interests, so the two differ in nothing else.
"""

from dataclasses import dataclass

from eimf.store.artifact import Artifact


@dataclass(frozen=True)
class GainDecision:
    """Whether the interests pass the gain test, and why, in one line."""

    passes: bool
    reason: str


def decision_of(signal_check: Artifact) -> GainDecision:
    """The decision that follows from a finished signal check."""
    nats, error = (signal_check.summary_number(name) for name in ("nats", "standard_error"))
    return decide(str(signal_check.manifest.summary["interests"]), nats, error)


def decide(verdict: str, nats: float, standard_error: float) -> GainDecision:
    """The interests pass if the signal check says that they add something."""
    added = f"the interests add {nats:+.4f} ± {standard_error:.4f} nats a user to popularity, co-occurrence and texts"
    if verdict == "adds":
        return GainDecision(
            True, f"gain test passed: {added}, more than those of another cluster; they enter soft targets"
        )
    outcome = "they stay out of soft targets (heads.require_gain=false uses them anyway)"
    return GainDecision(False, f"gain test failed: {added}: {verdict}; {outcome}")
