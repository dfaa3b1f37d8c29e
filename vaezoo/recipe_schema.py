"""What a recipe may say: every key of the YAML file with its type, its range and its default.

This file imports nothing heavy, so a recipe is refused before TensorFlow is loaded. The sections named for a part
mirror that part's constructor; a test compares the two, names and defaults alike.
"""

import functools
import operator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

Width = Annotated[int, Field(ge=1, le=65_536)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, max_length=32)]  # YAML has lists where Python has tuples
Filters = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=8)]
KernelSize = Annotated[int, Field(ge=1, le=15)]
Activation = Literal["relu", "gelu", "silu", "elu", "leaky_relu", "softplus", "tanh", "sigmoid"]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels; a batch of 100 grey images of that size takes 7 GB
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A frozen mapping that refuses unknown keys, wrong types, infinities and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Part(Section):
    """A replaceable part of the model: its name in the registry and the keywords of its constructor."""

    def keywords(self) -> dict[str, Any]:
        """The constructor's keywords: all but the name."""
        return self.model_dump(exclude={"name"})


def one_of(*sections: type[Part]):
    """A part chosen by its `name`; a bare string is short for that name with every default."""
    choice = sections[0]
    if len(sections) > 1:
        choice = Annotated[functools.reduce(operator.or_, sections), Field(discriminator="name")]
    return Annotated[choice, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)]


class MLP(Part):
    """A fully connected encoder or decoder: `mlp_encoder`, `mlp_decoder`."""

    name: Literal["mlp"]
    hidden: Widths = (500, 500)
    activation: Activation = "relu"


class ConvEncoder(Part):
    """`conv_encoder`."""

    name: Literal["conv"]
    filters: Filters = (32, 64)
    kernel_size: KernelSize = 4
    dense: Width = 512
    activation: Activation = "gelu"


class ConvDecoder(Part):
    """`conv_decoder`."""

    name: Literal["conv"]
    filters: Filters = (64, 64)
    kernel_size: KernelSize = 3
    dense: Width = 512
    activation: Activation = "gelu"


class DiagonalNormal(Part):
    """`posteriors.DiagonalNormal`."""

    name: Literal["diagonal_normal"]


class FullNormal(Part):
    """`posteriors.FullNormal`."""

    name: Literal["full_normal"]


class Point(Part):
    """`posteriors.Point`."""

    name: Literal["point"]


class Flow(Part):
    """`posteriors.Flow`."""

    name: Literal["flow"]
    blocks: Annotated[int, Field(ge=0, le=64)] = 2
    hidden: Annotated[Widths, Field(min_length=1)] = (320,)
    context: Width = 64


class StandardNormal(Part):
    """`priors.StandardNormal`."""

    name: Literal["standard_normal"]


class Mixture(Part):
    """`priors.Mixture`."""

    name: Literal["mixture"]
    components: Width = 50


class VampPrior(Part):
    """`priors.VampPrior`."""

    name: Literal["vamp"]
    components: Width = 500


class Bernoulli(Part):
    """`likelihoods.Bernoulli`."""

    name: Literal["bernoulli"]


class ContinuousBernoulli(Part):
    """`likelihoods.ContinuousBernoulli`."""

    name: Literal["continuous_bernoulli"]


class Normal(Part):
    """`likelihoods.Normal`."""

    name: Literal["normal"]
    scale: Annotated[float, Field(ge=1e-3, le=1e3)] = 0.1
    learned: bool = False


class DiscretizedLogistic(Part):
    """`likelihoods.DiscretizedLogistic`."""

    name: Literal["discretized_logistic"]


class WarmUp(Section):
    """A weight that moves linearly from `start` to `end` over the first `steps` steps, and stays there."""

    start: Weight = 0.0
    end: Weight = 1.0
    steps: Annotated[int, Field(ge=1, le=10**9)]


Beta = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[WarmUp, Tag("warm_up")],
    Discriminator(lambda value: "warm_up" if isinstance(value, dict | WarmUp) else "number"),
]
Samples = Annotated[int, Field(ge=1, le=10_000)]


class ELBO(Part):
    """`objectives.ELBO`."""

    name: Literal["elbo"]
    samples: Samples = 1
    kl: Literal["auto", "closed_form", "monte_carlo"] = "auto"


class BetaELBO(ELBO):
    """`objectives.BetaELBO`."""

    name: Literal["beta"]
    beta: Beta = 4.0
    reconstruction_weight: Weight = 1.0


class IWAE(Part):
    """`objectives.IWAE`."""

    name: Literal["iwae"]
    samples: Samples = 5
    doubly_reparameterized: bool = False


class Reconstruction(Part):
    """`objectives.Reconstruction`."""

    name: Literal["reconstruction"]


class Model(Section):
    """The five parts, the objective that trains them, and the size of the latent space."""

    latent_dim: Width
    conditional: bool = False
    encoder: one_of(MLP, ConvEncoder)
    posterior: one_of(DiagonalNormal, FullNormal, Flow, Point) = DiagonalNormal(name="diagonal_normal")
    prior: one_of(StandardNormal, Mixture, VampPrior) = StandardNormal(name="standard_normal")
    decoder: one_of(MLP, ConvDecoder)
    likelihood: one_of(Bernoulli, ContinuousBernoulli, Normal, DiscretizedLogistic)
    objective: one_of(ELBO, BetaELBO, IWAE, Reconstruction) = ELBO(name="elbo")

    @model_validator(mode="after")
    def _parts_fit(self):
        posterior, prior, objective = self.posterior.name, self.prior.name, self.objective
        if posterior == "point" and objective.name != "reconstruction":
            raise ValueError(
                f"the objective '{objective.name}' needs a KL, which is infinite for the posterior 'point'; "
                "set model.objective=reconstruction, or model.posterior=diagonal_normal"
            )
        if prior != "standard_normal" and objective.name == "reconstruction":
            raise ValueError(
                f"the objective 'reconstruction' has no KL, so the prior '{prior}' would learn nothing; "
                "set model.prior=standard_normal"
            )
        if prior == "vamp" and posterior == "flow":
            raise ValueError(
                "the prior 'vamp' needs the density of a code under every pseudo-input's posterior, which takes "
                "'flow' a pass for each latent; set model.posterior=diagonal_normal, or model.prior=mixture"
            )
        if posterior == "flow" and getattr(objective, "doubly_reparameterized", False):
            raise ValueError(
                "the doubly-reparameterized gradient is for normal posteriors, not for 'flow'; "
                "set model.objective.doubly_reparameterized=false, or model.posterior=diagonal_normal"
            )
        return self


class Data(Section):
    """Which images, how many of them are held out, and whether they are made black and white."""

    name: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096)] = "glyphs"
    binarize: Literal["none", "threshold", "dynamic"] = "none"
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    image_size: Annotated[tuple[Side, Side], Field(strict=False)] | None = None


class Training(Section):
    """How long, how fast and at which precision."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    learning_rate: Annotated[float, Field(gt=0, le=1e4)] = 1e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    # A longer gradient is shortened to this (as in Child 2021, arXiv:2011.10650). On binarized MNIST none of the
    # first 150 was longer than 270; under the likelihoods of grey levels the first steps make far longer ones, and
    # Adam then throws the model off: conv_vae on 360 small colour images ended at -894 nats without a limit, and at
    # -464 with it.
    clip_norm: Annotated[float, Field(gt=0, le=1e9)] | None = 1000.0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    compilation: Literal["auto", "xla", "graph"] = "auto"
    on_nonfinite: Literal["stop", "skip"] = "stop"  # what to do with a step whose loss or gradient is not finite
    seed: Seed = 0


class Recipe(Section):
    """A whole recipe: what `zoo_configs/NAME.yaml` holds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    summary: str = ""
    paper: str = ""
    parameters: Annotated[int, Field(ge=0, le=10**12)] | None = None  # at the default size; a test counts them
    expected_elbo: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None  # of MNIST's test images, as it stands
    model: Model
    data: Data = Data()
    training: Training = Training()
