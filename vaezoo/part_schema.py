"""Every part of a model that a recipe may name: its keywords with types, ranges, defaults and meaning.

The section of a part is the only place where the part's keywords are written. Class attributes are capabilities: what
other parts and commands may ask of it.
"""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from vaezoo.sections import Part, Section
from vaezoo.spec import COLUMN_TYPES

Width = Annotated[int, Field(ge=1, le=65_536)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, max_length=32)]  # YAML has lists where Python has tuples
Hidden = Annotated[Widths, Field(description="the widths of the hidden layers in order; empty for a linear map")]
Filters = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=8)]
KernelSize = Annotated[int, Field(ge=1, le=15)]
ACTIVATIONS = ("relu", "gelu", "silu", "elu", "leaky_relu", "softplus", "tanh", "sigmoid")
Activation = Annotated[Literal[*ACTIVATIONS], Field(description="the nonlinearity between layers, by its Keras name")]
DenseActivation = Annotated[
    Literal[*ACTIVATIONS, "glu"],
    Field(
        description="the nonlinearity between layers, by its Keras name; with glu, a layer is a linear one times the "
        "sigmoid of another, and has twice the weights"
    ),
]
LevelWidth = Annotated[
    Width, Field(description="channels at the two smallest resolutions; each doubling halves them, to 16")
]
LadderWidth = Annotated[
    Width, Field(description="channels at the smallest resolution; each doubling halves them, to 16")
]
Blocks = Annotated[int, Field(ge=0, le=16, description="residual blocks at each resolution below the half")]
Span = Annotated[int, Field(ge=1, le=65_536)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Samples = Annotated[int, Field(ge=1, le=10_000)]


# Encoders and decoders


class Encoder(Part):
    """x → the parameters of q(z|x).

    Attributes:
        hierarchical: whether it gives the features of every group of a hierarchy.
    """

    kind: ClassVar = "encoder"
    hierarchical: ClassVar[bool] = False


class Decoder(Part):
    """z → the parameters of p(x|z).

    Attributes:
        hierarchical: whether it is a chain of groups, each in units of its own prior.
    """

    kind: ClassVar = "decoder"
    hierarchical: ClassVar[bool] = False


class MLPEncoder(Encoder):
    """Fully connected; without hidden layers a linear map."""

    name: Literal["mlp"] = "mlp"
    hidden: Hidden = (500, 500)
    activation: DenseActivation = "relu"


class MLPDecoder(Decoder):
    """Fully connected; without hidden layers a linear map."""

    name: Literal["mlp"] = "mlp"
    hidden: Hidden = (500, 500)
    activation: DenseActivation = "relu"


class ConvEncoder(Encoder):
    """Convolutions with a stride of 2."""

    name: Literal["conv"] = "conv"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    filters: Filters = Field((32, 64), description="the width of each convolution, from the image inwards")
    kernel_size: KernelSize = Field(4, description="the side of every kernel, in pixels")
    dense: Width = Field(512, description="the width of the dense layer between the convolutions and the parameters")
    activation: Activation = "gelu"


class ConvDecoder(Decoder):
    """Transposed convolutions with a stride of 2 and a depth-to-space."""

    name: Literal["conv"] = "conv"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    filters: Filters = Field((64, 64), description="the width at each resolution below the full one, smallest first")
    blocks: Annotated[int, Field(ge=0, le=16)] = Field(0, description="residual convolutions at the lowest resolution")
    kernel_size: KernelSize = Field(3, description="the side of every kernel, in pixels")
    dense: Width = Field(512, description="the width of the dense layer that the code enters")
    activation: Activation = "gelu"


class PyramidEncoder(Encoder):
    """Convolutions, with as many levels as the image size asks for; any size from 8 pixels."""

    name: Literal["pyramid"] = "pyramid"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    width: LevelWidth = 128
    blocks: Blocks = 0
    activation: Activation = "gelu"


class PyramidDecoder(Decoder):
    """Convolutions, with as many levels as the image size asks for; any size from 8 pixels."""

    name: Literal["pyramid"] = "pyramid"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    width: LevelWidth = 128
    blocks: Blocks = 0
    activation: Activation = "gelu"


class LadderEncoder(Encoder):
    """Convolutions that give the features of every resolution; any size from 8 pixels."""

    name: Literal["ladder"] = "ladder"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    hierarchical: ClassVar[bool] = True
    width: LadderWidth = 64
    blocks: Annotated[int, Field(ge=0, le=16, description="residual blocks at each resolution")] = 1
    dense: Width = Field(256, description="the number of features for the top group")
    activation: Activation = "gelu"


class LadderDecoder(Decoder):
    """A hierarchy: a top group of latent_dim latents, and groups at every resolution up to the half one."""

    name: Literal["ladder"] = "ladder"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    hierarchical: ClassVar[bool] = True
    width: LadderWidth = 64
    channels: Width = Field(
        4, description="latents at each place of the smallest resolution; each doubling quarters them, to 1"
    )
    groups: Annotated[int, Field(ge=1, le=16, description="how many at each resolution")] = 1
    blocks: Annotated[int, Field(ge=0, le=16, description="residual blocks after each group")] = 1
    dense: Width = Field(256, description="the width of the dense layer that the top group enters")
    activation: Activation = "gelu"


class RecurrentEncoder(Encoder):
    """A GRU that reads a sequence in both directions."""

    name: Literal["recurrent"] = "recurrent"
    examples: ClassVar[tuple[str, ...]] = ("sequence",)
    units: Width = Field(256, description="the width of the GRU, in each direction")


class BarsEncoder(Encoder):
    """One network for each bar of a sequence, and a dense layer over all bars."""

    name: Literal["bars"] = "bars"
    examples: ClassVar[tuple[str, ...]] = ("sequence",)
    span: Span = Field(16, description="the steps of a bar")
    hidden: Annotated[Widths, Field(min_length=1)] = Field(
        (512, 128), description="the widths of the layers of a bar's network"
    )
    dense: Width = Field(512, description="the width of the layer over all bars")
    activation: Activation = "relu"


class ConductorDecoder(Decoder):
    """A GRU that gives an embedding for each bar of a sequence, and a network from it to the steps of the bar."""

    name: Literal["conductor"] = "conductor"
    examples: ClassVar[tuple[str, ...]] = ("sequence",)
    span: Span = Field(16, description="the steps of a bar")
    units: Width = Field(256, description="the width of the GRU over the bars")
    hidden: Hidden = (512,)
    activation: Activation = "relu"


# Posteriors


class Posterior(Part):
    """q(z|x).

    Attributes:
        hierarchical: whether it reads the state of a hierarchical decoder.
        has_density: whether q(z|x) has one; without it there is no KL, no ELBO and no NLL.
        normal: whether q(z|x) is a multivariate normal: its moments and marginals are known, and the density of any
            code takes one pass.
    """

    kind: ClassVar = "posterior"
    hierarchical: ClassVar[bool] = False
    has_density: ClassVar[bool] = True
    normal: ClassVar[bool] = True


class DiagonalNormal(Posterior):
    """A normal with a diagonal covariance."""

    name: Literal["diagonal_normal"] = "diagonal_normal"


class FullNormal(Posterior):
    """A normal with a full covariance."""

    name: Literal["full_normal"] = "full_normal"


class Point(Posterior):
    """All mass on one code: an autoencoder without noise."""

    name: Literal["point"] = "point"
    has_density: ClassVar[bool] = False
    normal: ClassVar[bool] = False


class Flow(Posterior):
    """An inverse autoregressive flow."""

    name: Literal["flow"] = "flow"
    normal: ClassVar[bool] = False
    blocks: Annotated[int, Field(ge=0, le=64)] = Field(2, description="how many; with 0 it is the diagonal normal")
    hidden: Annotated[Widths, Field(min_length=1)] = Field(
        (320,), description="the widths of the hidden layers of each block's network"
    )
    context: Width = Field(64, description="C, how many numbers the encoder gives to every block")


class ResidualNormal(Posterior):
    """For each group of a hierarchy a diagonal normal, given the groups above it."""

    name: Literal["residual_normal"] = "residual_normal"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    hierarchical: ClassVar[bool] = True
    normal: ClassVar[bool] = False
    activation: Activation = "gelu"


# Priors


class Prior(Part):
    """p(z).

    Attributes:
        learned: whether it has weights.
        normal: whether it is a normal with a diagonal covariance.
        of_posteriors: whether it is made of the posteriors of inputs, so that it needs the density of any code.
        smallest_latent_dim: the smallest D that it is defined for.
    """

    kind: ClassVar = "prior"
    learned: ClassVar[bool] = True
    normal: ClassVar[bool] = False
    of_posteriors: ClassVar[bool] = False
    smallest_latent_dim: ClassVar[int] = 1


class StandardNormal(Prior):
    """N(0, I)."""

    name: Literal["standard_normal"] = "standard_normal"
    learned: ClassVar[bool] = False
    normal: ClassVar[bool] = True


class Mixture(Prior):
    """A learned mixture of normals."""

    name: Literal["mixture"] = "mixture"
    components: Width = Field(50, description="K, how many normals")
    covariance: Literal["diagonal", "full"] = Field("diagonal", description="of each normal")


class VampPrior(Prior):
    """A mixture of the posteriors of learned pseudo-inputs."""

    name: Literal["vamp"] = "vamp"
    of_posteriors: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("image",)
    components: Width = Field(500, description="K, how many pseudo-inputs")


class FlowPrior(Prior):
    """N(0, I), bent by affine couplings (RealNVP)."""

    name: Literal["flow"] = "flow"
    smallest_latent_dim: ClassVar[int] = 2
    blocks: Annotated[int, Field(ge=1, le=64)] = Field(8, description="how many couplings")
    hidden: Annotated[Widths, Field(min_length=1)] = Field(
        (256, 256), description="the widths of the hidden layers of each coupling's network"
    )


# Likelihoods


class Likelihood(Part):
    """p(x|z).

    Attributes:
        density: whether it gives densities, whose logarithm can be above 0, and not probabilities.
        binary: whether it describes zeros and ones alone.
        autoregressive: whether each element depends on those before it: then there is no mean, only a most likely path.
        column_types: the types of the columns of a table that it describes, in their units and with missing cells; of
            a likelihood for plain numbers there are none.
    """

    kind: ClassVar = "likelihood"
    density: ClassVar[bool] = False
    binary: ClassVar[bool] = False
    autoregressive: ClassVar[bool] = False
    column_types: ClassVar[tuple[str, ...]] = ()


class Bernoulli(Likelihood):
    """A Bernoulli, for zeros and ones."""

    name: Literal["bernoulli"] = "bernoulli"
    binary: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("image", "vector")


class ContinuousBernoulli(Likelihood):
    """A continuous Bernoulli, for real numbers in [0, 1]."""

    name: Literal["continuous_bernoulli"] = "continuous_bernoulli"
    density: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("image", "vector")


class Normal(Likelihood):
    """A normal, with one scale for all elements or one for each."""

    name: Literal["normal"] = "normal"
    density: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("image", "vector")
    scale: Annotated[float, Field(ge=1e-3, le=1e3)] = Field(
        0.1, description="the standard deviation, in units of x; of an image these reach from 0 to 1"
    )
    learned: bool = Field(False, description="train the scale, from that start (Rybkin et al. 2021)")
    per_element: bool = Field(False, description="with `learned`, a scale for each element of an example")

    @model_validator(mode="after")
    def _scales_are_learned(self):
        if self.per_element and not self.learned:
            raise ValueError(
                "the likelihood 'normal' has a scale for each element only if it learns them; set "
                "model.likelihood.learned=true, or leave per_element out"
            )
        return self


class _Columns(Likelihood):
    """One distribution for each element of a vector, in the unit of its column."""

    density: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("vector",)


class StudentT(_Columns):
    """A Student's t for each element, with a learned scale and learned degrees of freedom."""

    name: Literal["student_t"] = "student_t"
    column_types: ClassVar[tuple[str, ...]] = ("continuous",)


class Poisson(_Columns):
    """A Poisson for each element, for counts."""

    name: Literal["poisson"] = "poisson"
    density: ClassVar[bool] = False
    column_types: ClassVar[tuple[str, ...]] = ("count",)


class NegativeBinomial(_Columns):
    """A negative binomial for each element, with a learned dispersion, for counts."""

    name: Literal["negative_binomial"] = "negative_binomial"
    density: ClassVar[bool] = False
    column_types: ClassVar[tuple[str, ...]] = ("count",)


class Mixed(_Columns):
    """The columns of a table: for each a distribution of its type."""

    name: Literal["mixed"] = "mixed"
    column_types: ClassVar[tuple[str, ...]] = COLUMN_TYPES
    continuous: Literal["normal", "student_t"] = Field(
        "student_t", description="of a continuous column, with a learned scale"
    )
    count: Literal["poisson", "negative_binomial"] = Field("negative_binomial", description="of a count")


class DiscretizedLogistic(Likelihood):
    """A logistic over the 256 grey levels of an image."""

    name: Literal["discretized_logistic"] = "discretized_logistic"
    examples: ClassVar[tuple[str, ...]] = ("image",)


class LogisticMixture(Likelihood):
    """A mixture of logistics over the 256 levels of each pixel's channels, which depend on each other."""

    name: Literal["logistic_mixture"] = "logistic_mixture"
    examples: ClassVar[tuple[str, ...]] = ("image",)
    components: Annotated[int, Field(ge=1, le=32)] = Field(3, description="K, how many logistics for each pixel")


class Categorical(Likelihood):
    """One categorical distribution for each token of a sequence."""

    name: Literal["categorical"] = "categorical"
    examples: ClassVar[tuple[str, ...]] = ("sequence",)


class Autoregressive(Likelihood):
    """A categorical distribution for each token of a sequence, given the tokens before it."""

    name: Literal["autoregressive"] = "autoregressive"
    examples: ClassVar[tuple[str, ...]] = ("sequence",)
    autoregressive: ClassVar[bool] = True
    features: Width = Field(64, description="how many numbers the decoder gives for each step of the sequence")
    units: Width = Field(128, description="the width of the GRU that reads the tokens before")
    span: Span | None = Field(
        None, description="after how many steps the GRU begins anew, as at a bar line; null for never"
    )


# Objectives


class WarmUp(Section):
    """A weight that moves linearly from `start` to `end` over the first `steps` steps, and stays there."""

    start: Weight = Field(0.0, description="the weight at the first step")
    end: Weight = Field(1.0, description="the weight after `steps` steps")
    steps: Annotated[int, Field(ge=1, le=10**9)] = Field(description="of the optimizer")


Scheduled = Annotated[
    Annotated[Weight, Tag("<number>")] | Annotated[WarmUp, Tag("<warm_up>")],
    Discriminator(lambda value: "<warm_up>" if isinstance(value, dict | WarmUp) else "<number>"),
]


def after(steps: int | None, weight: float | WarmUp) -> float:
    """A `Scheduled` weight after so many steps; at its end for None."""
    if not isinstance(weight, WarmUp):
        return weight
    done = 1.0 if steps is None else min(steps / weight.steps, 1.0)
    return weight.start + (weight.end - weight.start) * done


class Objective(Part):
    """What training minimizes.

    Attributes:
        terms: the names of its terms, from the loss back to what it is made of. All but the loss are shown.
        has_bound: whether it has a KL, and so an ELBO.
        shown: the terms but the loss.
        needs_normal: what to set where the posterior is not normal; empty if it takes any posterior.
        needs_closed_form: what to set where the KL has no closed form; empty if it needs none.
        needs_dataset_size: whether it has a keyword `dataset_size`, which `vaezoo train` sets to the number of
            training examples.
        critic_of: what a critic tells the codes from: "prior", draws of it; "permuted", codes whose latents are
            permuted; empty without a critic, whose cross-entropy is the term "critic".
        critic_weight: the keyword that is the weight of what the critic says.
    """

    kind: ClassVar = "objective"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "kl")
    has_bound: ClassVar[bool] = True
    shown: ClassVar[tuple[str, ...]] = ("elbo", "reconstruction", "kl")
    needs_dataset_size: ClassVar[bool] = False
    critic_of: ClassVar[Literal["", "prior", "permuted"]] = ""
    critic_weight: ClassVar[str] = ""

    @property
    def needs_normal(self) -> str:  # noqa: D102  described above
        return ""

    @property
    def needs_closed_form(self) -> str:  # noqa: D102  described above
        return ""

    def kl_weight(self, steps: int | None) -> float | None:
        """The weight of the KL in the loss after so many steps, where that of the reconstruction is 1.

        None where the loss is not made of the two. Steps of None are those of the end of a warm-up.
        """
        return None

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords):
        super().__pydantic_init_subclass__(**keywords)
        cls.shown = tuple(term for term in cls.terms if term != "loss")


class ELBO(Objective):
    """The negative ELBO."""

    name: Literal["elbo"] = "elbo"
    samples: Samples = Field(1, description="K, the Monte-Carlo samples of the posterior for each example")
    kl: Literal["auto", "closed_form", "monte_carlo"] = Field(
        "auto", description="how the KL is computed; auto is the closed form where there is one"
    )
    gradient: Literal["reparameterized", "sticking_the_landing", "score_function"] = Field(
        "reparameterized", description="the estimator of the encoder's gradient; of the last two the KL is monte_carlo"
    )

    @property
    def needs_closed_form(self) -> str:  # noqa: D102  described in the base class
        return "model.objective.kl=auto" if self.kl == "closed_form" else ""

    @property
    def needs_normal(self) -> str:  # noqa: D102  described in the base class
        return "" if self.gradient == "reparameterized" else "model.objective.gradient=reparameterized"

    def kl_weight(self, steps: int | None) -> float | None:  # noqa: D102  described in the base class
        return 1.0

    @model_validator(mode="after")
    def _gradient_fits(self):
        if self.gradient != "reparameterized" and self.kl == "closed_form":
            raise ValueError(
                f"the gradient '{self.gradient}' needs the density of each draw, and the closed form has none; "
                "set model.objective.kl=auto"
            )
        if self.gradient == "score_function" and self.samples < 2:
            raise ValueError(
                "the gradient 'score_function' takes the other draws of an example as its control variate; "
                "set model.objective.samples=2 or more"
            )
        return self


class BetaELBO(ELBO):
    """The ELBO with weights on its two terms."""

    name: Literal["beta"] = "beta"
    beta: Scheduled = Field(4.0, description="the weight of the KL: a number, or a warm-up {start, end, steps}")
    reconstruction_weight: Weight = Field(
        1.0, description="the weight of the reconstruction; at 0 the KL alone is left, and the decoder learns nothing"
    )
    free_bits: Weight = Field(0.0, description="the KL of an example that costs nothing, in bits (Roberts et al. 2018)")

    def kl_weight(self, steps: int | None) -> float | None:  # noqa: D102  described in the base class
        return after(steps, self.beta) / self.reconstruction_weight if self.reconstruction_weight else math.inf

    @property
    def needs_closed_form(self) -> str:  # noqa: D102  described in the base class
        fixed = self.free_bits and self.gradient != "reparameterized"
        return super().needs_closed_form or ("model.objective.gradient=reparameterized" if fixed else "")


class FactorELBO(ELBO):
    """The ELBO and a penalty on the total correlation, which a critic estimates."""

    name: Literal["factor"] = "factor"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "total_correlation", "critic", "kl")
    critic_of: ClassVar = "permuted"
    critic_weight: ClassVar[str] = "gamma"
    gamma: Weight = Field(10.0, description="the weight of the total correlation")
    hidden: Widths = Field((1000, 1000, 1000, 1000, 1000), description="the widths of the critic's hidden layers")


class CapacityELBO(ELBO):
    """The reconstruction, and a KL that is held at a capacity."""

    name: Literal["capacity"] = "capacity"
    gamma: Weight = Field(1000.0, description="the weight of the distance of the KL to its capacity")
    capacity: Scheduled = Field(25.0, description="C in nats: a number, or a warm-up {start, end, steps}")
    # The score function would need the sign of the distance, which is known only after the draws.
    gradient: Literal["reparameterized", "sticking_the_landing"] = Field(
        "reparameterized", description="the estimator of the encoder's gradient"
    )

    def kl_weight(self, steps: int | None) -> float | None:  # noqa: D102  described in the base class
        return None


class TotalCorrelationELBO(ELBO):
    """The ELBO with weights on the three parts of its KL: information, total correlation, and the rest."""

    name: Literal["total_correlation"] = "total_correlation"
    terms: ClassVar[tuple[str, ...]] = (
        "loss",
        "elbo",
        "reconstruction",
        "total_correlation",
        "mutual_information",
        "dimension_kl",
        "kl",
    )
    needs_dataset_size: ClassVar[bool] = True
    alpha: Weight = Field(1.0, description="the weight of I(x; z)")
    beta: Weight = Field(6.0, description="the weight of the total correlation")
    gamma: Weight = Field(1.0, description="the weight of the KL of each latent's marginal to the prior")
    estimator: Literal["stratified", "weighted"] = Field(
        "stratified", description="how the batch stands for all examples; weighted is a lower bound of log q(z)"
    )
    dataset_size: Annotated[int, Field(ge=2, le=10**10)] | None = Field(
        None, description="N, the number of training examples; null lets the data say it"
    )

    @property
    def needs_normal(self) -> str:  # noqa: D102  described in the base class
        return "model.objective=factor"

    def kl_weight(self, steps: int | None) -> float | None:  # noqa: D102  described in the base class
        return self.alpha if self.alpha == self.beta == self.gamma else None


class DIPELBO(ELBO):
    """The ELBO, and a penalty on a covariance of the codes that is not the identity."""

    name: Literal["dip"] = "dip"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "dip", "kl")
    of: Literal["means", "codes"] = Field("codes", description="whose covariance: means is DIP-VAE-I, codes DIP-VAE-II")
    off_diagonal: Weight = Field(10.0, description="the weight of the squared covariances of two latents")
    diagonal: Weight = Field(10.0, description="the weight of the squared differences of the variances from 1")

    @property
    def needs_normal(self) -> str:  # noqa: D102  described in the base class
        return "model.objective=info"


class InfoELBO(ELBO):
    """The reconstruction, a part of the KL, and the maximum mean discrepancy of all codes to the prior."""

    name: Literal["info"] = "info"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "mmd", "kl")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="how much of the information I(x; z) is not paid for; with 1 the KL is left out"
    )
    divergence: Annotated[float, Field(ge=1, le=1e6)] = Field(
        1000.0, description="the weight of the distance of all codes to the prior; the MMD has alpha + this - 1"
    )
    kernel: Literal["rbf", "imq"] = Field("imq", description="exp(-s) or 1 / (1 + s), of the squared distance s")
    bandwidth: Annotated[float, Field(ge=1e-3, le=1e3)] = Field(
        1.0, description="the unit of length of the kernel, in standard deviations of the prior"
    )

    def kl_weight(self, steps: int | None) -> float | None:  # noqa: D102  described in the base class
        return 1 - self.alpha


class AdversarialELBO(ELBO):
    """The reconstruction, a part of the KL, and a critic that tells the codes from draws of the prior."""

    name: Literal["adversarial"] = "adversarial"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "adversarial", "critic", "kl")
    critic_of: ClassVar = "prior"
    critic_weight: ClassVar[str] = "weight"
    beta: Scheduled = Field(0.0, description="the weight of the KL: a number, or a warm-up {start, end, steps}")
    weight: Weight = Field(1.0, description="the weight of the encoder's loss against the critic")
    hidden: Widths = Field((1000, 1000), description="the widths of the critic's hidden layers")

    def kl_weight(self, steps: int | None) -> float | None:  # noqa: D102  described in the base class
        return after(steps, self.beta)


class IWAE(Objective):
    """The importance-weighted bound."""

    name: Literal["iwae"] = "iwae"
    samples: Samples = Field(5, description="K")
    doubly_reparameterized: bool = Field(
        False, description="take the gradient of Tucker et al. (2019), whose noise does not grow with K"
    )

    @property
    def needs_normal(self) -> str:  # noqa: D102  described in the base class
        return "model.objective.doubly_reparameterized=false" if self.doubly_reparameterized else ""


class MIWAE(IWAE):
    """The mean of several importance-weighted bounds."""

    name: Literal["miwae"] = "miwae"
    bounds: Samples = Field(5, description="M, how many bounds of K samples each")


class CIWAE(IWAE):
    """A mixture of the ELBO and the importance-weighted bound."""

    name: Literal["ciwae"] = "ciwae"
    elbo_weight: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="of the ELBO; the bound has the rest")


class PIWAE(MIWAE):
    """The importance-weighted bound for the decoder, the mean of several smaller ones for the encoder."""

    name: Literal["piwae"] = "piwae"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "inference", "kl")


class Reconstruction(Objective):
    """The reconstruction alone: the plain autoencoder."""

    name: Literal["reconstruction"] = "reconstruction"
    terms: ClassVar[tuple[str, ...]] = ("loss", "reconstruction")
    has_bound: ClassVar[bool] = False


class RegularizedReconstruction(Reconstruction):
    """The reconstruction, and penalties on the length of the code and on the weights of the decoder."""

    name: Literal["rae"] = "rae"
    terms: ClassVar[tuple[str, ...]] = ("loss", "reconstruction", "code")
    code_weight: Weight = Field(0.01, description="of half the squared length of the code")
    decoder_weight: Weight = Field(1e-3, description="of half the squared length of all weights of the decoder")
