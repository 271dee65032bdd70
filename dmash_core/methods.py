"""The arms: presets of a frozen dataclass. A variant copies no code; an option changes one field."""

from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar, Literal

from dmash_core.errors import UserError, unknown
from dmash_core.networks.layers import INPUT_NORMS, OUTPUT_NORMS


@dataclass(frozen=True)
class Method:
    """What an agent knows of the context, how it enters the networks, and which losses train the encoder.

    The default of a new field must reproduce the previous behaviour: earlier raw runs and checkpoints lack the field.
    """

    context: Literal["none", "true", "inferred"] = "inferred"
    """What the agent knows: nothing, the true context c, or an embedding z inferred from a window of transitions."""
    conditioning: Literal["none", "concat", "adapter"] = "concat"
    """How it enters actor and critics (and, if inferred, the dynamics model)."""
    hypernetwork: Literal["none", "shared", "private"] = "none"
    """With adapters: one trained by the objective, or a private one per network, trained by that network's loss."""
    hypernetwork_form: Literal["chunked", "whole"] = "chunked"
    """Chunked: one small network generates omega in passes of 2 width entries each, as in the paper's published
    parameter counts; whole: one network with an output for each entry, the default of the paper's release."""
    adapters: Literal["all", "dynamics", "actor", "critic", "dynamics-actor", "dynamics-critic", "actor-critic"] = "all"
    """Which networks have adapters; the others concatenate."""
    objective: Literal["dynamics", "inverse", "reward", "none"] = "dynamics"
    """What trains the encoder and a shared hypernetwork: predicting s' - s from (s, a), a from (s, s' - s), or r from
    (s, a); or only the losses in encoder_gradients_from."""
    encoder_gradients_from: Literal["none", "critic", "actor", "both", "policy"] = "none"
    """Losses whose gradients also flow through z and omega into the encoder and the shared hypernetwork; the actor
    loss's through both actor and critics, except with "policy": through the actor only."""
    posterior: Literal["point", "gaussian", "sequence"] = "point"
    """Gaussian: z is sampled in training, its mean is used when acting, and the loss includes the KL to N(0, I).
    Sequence (VariBAD): a Gaussian after each transition of the window, trained on the ELBO; mean and log-variance are
    the code."""
    beta: float = 0.4
    """Weight of that KL."""
    kl: Literal["multiply", "add"] = "multiply"
    """How it enters the loss: loss (1 + beta KL), as in the release, or loss + beta KL."""
    masking: float = 0.0
    """Probability of zeroing each of s, a and s' - s of a window's step in training."""
    input_norm: Literal["none", "layernorm", "avgl1", "simnorm", "windownorm"] = "none"
    """Norm after the encoder's first layer."""
    output_norm: Literal["none", "layernorm", "avgl1", "simnorm"] = "none"
    """Norm of the embedding (of both heads if Gaussian)."""
    scale_context: bool = False
    """Scale a true context to [0, 1] over the training contexts, as in the original Decision Adapter."""
    window: int | None = None
    """K, the window length; by default the environment's (24 for the toys, 128 for MuJoCo)."""
    window_before_target: bool = False
    """End the window one step before the sampled transition, so that z never sees the encoder's target."""
    shared_draws: bool = False
    """As in the paper's release, share draws between training contexts: the initial states between all of them, the
    (episode, step) pairs of an update between all but the first. By default each context has its own."""
    bootstrap_at_time_limit: bool = False
    """Bootstrap the critic's target at the time limit; the paper's release does not."""
    embedding: int = 8
    """Dimension of z."""
    width: int = 256
    """Width of the hidden layers of dynamics model, actor and critics."""
    bottleneck: int = 32
    """k, the bottleneck width of the adapter."""
    hypernetwork_width: int = 64
    """Width of the hypernetwork's two hidden layers."""

    def __post_init__(self):
        if not 0.0 <= self.masking <= 1.0:
            raise UserError(f"masking is a probability and must be in [0, 1], not {self.masking}")
        if not 0.0 <= self.beta < float("inf"):
            raise UserError(f"beta must be non-negative and finite, not {self.beta}")
        _check_size("window", self.window, 1000)
        for name in ("embedding", "width", "bottleneck", "hypernetwork_width"):
            _check_size(name, getattr(self, name), 4096)
        for name, norms in (("input_norm", INPUT_NORMS), ("output_norm", OUTPUT_NORMS)):
            if getattr(self, name) not in norms:
                raise unknown(name, getattr(self, name), norms)
        if self.output_norm == "simnorm" and self.embedding % 2:
            raise UserError(f"simnorm needs an even embedding, not {self.embedding}")
        for wrong, sentence in self._contradictions():
            if wrong:
                raise UserError(sentence)

    def _contradictions(self):
        """Pairs (whether it applies, error message) of incompatible options."""
        inferred, shared = self.context == "inferred", self.hypernetwork == "shared"
        yield (
            (self.conditioning == "adapter") == (self.hypernetwork == "none")
            or (self.conditioning == "none") != (self.context == "none"),
            "context, conditioning and hypernetwork do not match: an adapter needs a hypernetwork, a context needs "
            "conditioning, and vice versa",
        )
        yield (
            self.hypernetwork == "none" and self.hypernetwork_form != "chunked",
            "hypernetwork_form has no effect without a hypernetwork",
        )
        yield (
            (self.hypernetwork != "none" and self.hypernetwork_form == "chunked")
            and (self.bottleneck % 2 or 2 * self.width % self.bottleneck or self.bottleneck > self.width),
            f"a chunked hypernetwork needs an even bottleneck that divides 2 * width and is at most the width, "
            f"not {self.bottleneck} with width {self.width} (hypernetwork_form='whole' takes any)",
        )
        yield (
            self.adapters != "all" and self.conditioning != "adapter",
            "adapters names the networks that have an adapter and needs conditioning='adapter'",
        )
        yield (
            shared and not (inferred and self.adapts("dynamics")),
            "a shared hypernetwork is trained by the objective and needs context='inferred' and an adapter in the "
            "dynamics model",
        )
        yield (
            not inferred
            and (self.posterior, self.objective, self.encoder_gradients_from) != ("point", "dynamics", "none"),
            "posterior, objective and encoder_gradients_from need context='inferred'",
        )
        yield (
            self.objective == "none" and (self.encoder_gradients_from not in ("critic", "both") or shared),
            "without an objective the critic's loss must train the encoder: encoder_gradients_from must be 'critic' or "
            "'both', and the hypernetwork must not be shared",
        )
        yield (
            self.encoder_gradients_from != "none" and (self.adapters != "all" or self.hypernetwork == "private"),
            "encoder_gradients_from needs concatenation, or a shared hypernetwork with adapters in all networks",
        )
        yield (
            self.posterior == "sequence"
            and (
                self.conditioning,
                self.objective,
                self.encoder_gradients_from,
                self.masking,
                self.input_norm,
                self.output_norm,
            )
            != ("concat", "dynamics", "none", 0.0, "none", "none"),
            "posterior='sequence' (arm varibad) needs concatenation, the dynamics objective and detached losses, "
            "without masking and norms",
        )
        yield (
            not inferred
            and (self.masking, self.input_norm, self.output_norm, self.window_before_target)
            != (0.0, "none", "none", False),
            "masking, norms and window_before_target have no effect without an inferred context",
        )
        yield (
            self.kl != "multiply" and self.posterior != "gaussian",
            "kl sets how the KL of a Gaussian posterior is charged and needs posterior='gaussian'",
        )
        yield (
            self.beta != Method.beta and self.posterior == "point",
            "beta is the weight of a posterior's KL and has no effect with posterior='point'",
        )
        yield (
            self.input_norm == "windownorm" and self.window == 1,
            "windownorm normalises over the steps of a window and needs at least 2 transitions",
        )
        yield self.scale_context and self.context != "true", "scale_context needs the true context (arms concat and da)"

    def adapts(self, network: str) -> bool:
        """Whether a network ("dynamics", "actor" or "critic") has an adapter."""
        return self.conditioning == "adapter" and (self.adapters == "all" or network in self.adapters.split("-"))

    @property
    def sends_omega(self) -> bool:
        """Whether actor or critics use adapters from the shared hypernetwork."""
        return self.hypernetwork == "shared" and (self.adapts("actor") or self.adapts("critic"))

    def encoder_trained_by(self, loss: str) -> bool:
        """Whether a loss ("dynamics", "actor" or "critic") trains the encoder and a shared hypernetwork."""
        if self.context != "inferred":
            return False
        if loss == "dynamics":
            return self.objective != "none"
        return self.encoder_gradients_from in {"critic": ("critic", "both"), "actor": ("actor", "both", "policy")}[loss]


@dataclass(frozen=True)
class InContextMethod:
    """A memory instead of a context: our compact version of Amago-2, which never sees the context (agents/amago.py).

    Its losses bootstrap at the time limit, and it does not use SAC.
    """

    recurrence: Literal["gru", "transformer"] = "gru"
    """The network that reads the timesteps so far."""
    window: int | None = None
    """K, the transitions in a training sequence and in the Transformer's memory; by default the environment's."""
    width: int = 256
    """Width of the recurrent state, and of actor and critics."""

    context: ClassVar = "none"

    def __post_init__(self):
        if self.recurrence not in ("gru", "transformer"):
            raise unknown("recurrence", self.recurrence, ("gru", "transformer"))
        _check_size("window", self.window, 1000)
        _check_size("width", self.width, 4096)
        if self.recurrence == "transformer" and self.width % 16:
            raise UserError(f"the Transformer's eight heads need a width that is a multiple of 16, not {self.width}")


def _check_size(name: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise UserError(f"{name} must be between 1 and {most}, not {value}")


_DMA_STAR = Method(masking=0.2, input_norm="avgl1", output_norm="simnorm")
_SH = replace(_DMA_STAR, conditioning="adapter", hypernetwork="shared", masking=0.4)
_H = replace(_SH, hypernetwork="private")

METHODS: dict[str, Method | InContextMethod] = {
    "dr": Method(context="none", conditioning="none"),
    "concat": Method(context="true", conditioning="concat"),
    "da": Method(context="true", conditioning="adapter", hypernetwork="private"),
    "dma": Method(),
    "dma-pearl": Method(posterior="gaussian", output_norm="layernorm"),
    "dma-star": _DMA_STAR,
    "dma-star-sh": _SH,
    "dma-star-sh-whole": replace(_SH, hypernetwork_form="whole"),  # our claim C1: does the form matter?
    # Figure 15: the architecture
    "dma-sh": Method(conditioning="adapter", hypernetwork="shared"),
    "dma-star-h": _H,
    "dma-star-h-rl-only": replace(_H, adapters="actor-critic"),
    "dma-star-sh-critic": replace(_SH, encoder_gradients_from="critic"),
    "dma-star-sh-actor": replace(_SH, encoder_gradients_from="actor"),
    "dma-star-sh-both": replace(_SH, encoder_gradients_from="both"),
    # not in the paper: is the actor's gradient itself harmful, or only its path through the critics?
    "dma-star-sh-policy": replace(_SH, encoder_gradients_from="policy"),
    # Figures 16 to 18
    "amago": InContextMethod(),
    "amago-transformer": InContextMethod(recurrence="transformer"),
    "varibad": Method(posterior="sequence", embedding=10, beta=1.0),
    "pearl": Method(objective="none", encoder_gradients_from="critic", posterior="gaussian", kl="add"),
    # Questions that the paper leaves open: other objectives, an inferred code in a Decision Adapter, hiding the target
    "dma-star-sh-inverse": replace(_SH, objective="inverse"),
    "dma-star-sh-reward": replace(_SH, objective="reward"),
    "da-inferred": Method(conditioning="adapter", hypernetwork="private", adapters="actor-critic"),
    "dma-star-causal": replace(_DMA_STAR, window_before_target=True),
    "dma-star-sh-causal": replace(_SH, window_before_target=True),
    # Reviewers' question R6: adapters in some of the networks. Without one in the dynamics model, only a network's own
    # loss can train its adapter's hypernetwork, so each hypernetwork is then private.
    "dma-star-sh-only-dynamics": replace(_SH, adapters="dynamics"),
    "dma-star-sh-only-actor": replace(_H, adapters="actor"),
    "dma-star-sh-only-critic": replace(_H, adapters="critic"),
    "dma-star-sh-only-dynamics-actor": replace(_SH, adapters="dynamics-actor"),
    "dma-star-sh-only-dynamics-critic": replace(_SH, adapters="dynamics-critic"),
}
MAIN_ARMS = ("dr", "concat", "da", "amago", "dma", "dma-pearl", "dma-star", "dma-star-sh")
"""The arms of the paper's main tables."""


def get_method(arm: str) -> Method | InContextMethod:
    """The preset of the arm with this slug; UserError if there is none."""
    if arm not in METHODS:
        raise unknown("arm", arm, METHODS)
    return METHODS[arm]


def method_from(options: dict) -> Method | InContextMethod:
    """The method with these options, as stored in a run's configuration; TypeError for unknown options."""
    return (InContextMethod if "recurrence" in options else Method)(**options)


def with_current_names(config: dict) -> dict:
    """The configuration of a run from before 2026-11-28, with its method's options renamed to the current names."""
    if "method" not in config:
        return config
    options = dict(config["method"])
    for old, new in (("entry", "conditioning"), ("undetached", "encoder_gradients_from")):
        if old in options:
            options[new] = options.pop(old)
    if options.get("recurrence") == "none":  # every method used to have this field
        del options["recurrence"]
    return config | {"method": options}


def label(arm: str, method: Method | InContextMethod) -> str:
    """The name under which a run is stored: the arm's slug, then each field that differs from its preset.

    >>> label("dma-star", replace(METHODS["dma-star"], masking=0.6))
    'dma-star+masking=0.6'
    """
    preset = asdict(get_method(arm))
    changed = [
        f"+{f.name}={getattr(method, f.name)}" for f in fields(method) if getattr(method, f.name) != preset[f.name]
    ]
    return arm + "".join(changed)


__all__ = [
    "InContextMethod",
    "MAIN_ARMS",
    "METHODS",
    "Method",
    "get_method",
    "label",
    "method_from",
    "replace",
    "with_current_names",
]
