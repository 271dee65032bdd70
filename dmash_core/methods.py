"""The arms: presets of one frozen dataclass. Nothing is copied to make a variant; an option changes one field."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Literal

from dmash_core.errors import UserError, unknown
from dmash_core.networks.layers import NORMS


@dataclass(frozen=True)
class Method:
    """What an agent knows of the context and how the context enters its networks."""

    context: Literal["none", "true", "inferred"] = "inferred"
    """What is known: nothing, the true context c, or an embedding z inferred from a window of transitions."""
    entry: Literal["none", "concat", "adapter"] = "concat"
    """How it enters the actor and the critics (and, if inferred, the dynamics model)."""
    hypernetwork: Literal["none", "shared", "private"] = "none"
    """With adapters: one trained by the dynamics loss, or a private one in the actor and in each critic."""
    masking: float = 0.0
    """Probability with which the s, a and s' - s of a window's step are each zeroed in training."""
    input_norm: Literal["none", "avgl1", "simnorm"] = "none"
    """Norm after the encoder's first layer."""
    output_norm: Literal["none", "avgl1", "simnorm"] = "none"
    """Norm of the embedding."""
    window: int | None = None
    """K, the length of the window; by default the environment's (24 for the toys, 128 for MuJoCo)."""
    window_before_target: bool = False
    """End the window of a replayed transition one step before it, so that z never sees the encoder's own target."""
    bootstrap_at_time_limit: bool = False
    """Bootstrap the critic's target past the time limit; the paper's release does not."""
    recurrence: Literal["none", "gru", "transformer"] = "none"
    """An in-context agent over sequences of K transitions instead of SAC: our compact version of Amago-2."""
    embedding: int = 8
    """Dimensions of z."""
    width: int = 256
    """Units of each hidden layer of dynamics model, actor and critics."""
    bottleneck: int = 32
    """k, the adapter's inner width."""
    hypernetwork_width: int = 64
    """Units of the hypernetwork's two hidden layers."""

    def __post_init__(self):
        if not 0.0 <= self.masking <= 1.0:
            raise UserError(f"masking is a probability and must lie in [0, 1], not {self.masking}")
        if self.window is not None and not 1 <= self.window <= 1000:
            raise UserError(f"window must be between 1 and 1000 transitions, not {self.window}")
        for name in ("embedding", "width", "bottleneck", "hypernetwork_width"):
            if not 1 <= getattr(self, name) <= 4096:
                raise UserError(f"{name} must be between 1 and 4096, not {getattr(self, name)}")
        for name in ("input_norm", "output_norm"):
            if getattr(self, name) not in NORMS:
                raise unknown(name, getattr(self, name), NORMS)
        if (self.entry == "adapter") == (self.hypernetwork == "none") or (self.entry == "none") != (
            self.context == "none"
        ):
            raise UserError(
                "context, entry and hypernetwork do not fit: adapters need a hypernetwork, and a context needs an entry"
            )
        if self.hypernetwork == "shared" and self.context != "inferred":
            raise UserError("a shared hypernetwork is trained by the dynamics loss and needs context='inferred'")
        if self.hypernetwork == "private" and self.context != "true":
            raise UserError("private hypernetworks are built for the true context (arm da)")
        if self.recurrence != "none" and (self.context != "none" or not self.bootstrap_at_time_limit):
            raise UserError("a recurrent arm is told nothing and bootstraps at the time limit: start from --arm amago")
        if self.recurrence == "transformer" and self.width % 16:
            raise UserError(f"the Transformer's eight heads need a width that is a multiple of 16, not {self.width}")
        if self.output_norm == "simnorm" and self.embedding % 2:
            raise UserError(f"simnorm needs an even embedding, not {self.embedding}")


METHODS: dict[str, Method] = {
    "dr": Method(context="none", entry="none"),
    "concat": Method(context="true", entry="concat"),
    "da": Method(context="true", entry="adapter", hypernetwork="private"),
    "amago": Method(context="none", entry="none", recurrence="gru", bootstrap_at_time_limit=True),
    "amago-transformer": Method(context="none", entry="none", recurrence="transformer", bootstrap_at_time_limit=True),
    "dma": Method(),
    "dma-star": Method(masking=0.2, input_norm="avgl1", output_norm="simnorm"),
    "dma-star-sh": Method(
        entry="adapter", hypernetwork="shared", masking=0.4, input_norm="avgl1", output_norm="simnorm"
    ),
}


def get_method(arm: str) -> Method:
    """The preset of an arm, by its slug; UserError for an unknown one."""
    if arm not in METHODS:
        raise unknown("arm", arm, METHODS)
    return METHODS[arm]


def label(arm: str, method: Method) -> str:
    """The name under which a run is kept: the arm's slug, then each field that differs from its preset.

    >>> label("dma-star", replace(METHODS["dma-star"], masking=0.6))
    'dma-star+masking=0.6'
    """
    preset = asdict(get_method(arm))
    changed = [
        f"+{f.name}={getattr(method, f.name)}" for f in fields(method) if getattr(method, f.name) != preset[f.name]
    ]
    return arm + "".join(changed)


__all__ = ["METHODS", "Method", "get_method", "label", "replace"]
