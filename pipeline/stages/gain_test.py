"""The interest gain test: the LLM's interests enter a training's soft targets only if they predict more of what users
do next than the users' own texts do.

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
    return decide_by_gain(signal_check.summary_number("gain"), signal_check.summary_number("standard_error"))


def decide_by_gain(gain: float, standard_error: float) -> GainDecision:
    """The interests pass if they add more than two standard errors (over users) to what the users' own texts tell."""
    added = f"the interests add {gain:+.4f} ± {standard_error:.4f} to what the users' own texts tell"
    if gain > 2 * standard_error:
        return GainDecision(True, f"gain test passed: {added}; they enter soft targets")
    outcome = "they stay out of soft targets (heads.require_gain=false uses them anyway)"
    return GainDecision(False, f"gain test failed: {added}; {outcome}")
