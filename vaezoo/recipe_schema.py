"""What a recipe may say: every key of the YAML file with its type, its range, its default and its meaning.

The section of a part is the only place where the part's keywords are written. Class attributes are capabilities: what
other parts and commands may ask of it.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from vaezoo.sections import Part, Section, one_of

Width = Annotated[int, Field(ge=1, le=65_536)]
Widths = Annotated[tuple[Width, ...], Field(strict=False, max_length=32)]  # YAML has lists where Python has tuples
Hidden = Annotated[Widths, Field(description="the widths of the hidden layers in order; empty for a linear map")]
Filters = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=8)]
KernelSize = Annotated[int, Field(ge=1, le=15)]
Activation = Annotated[
    Literal["relu", "gelu", "silu", "elu", "leaky_relu", "softplus", "tanh", "sigmoid"],
    Field(description="the nonlinearity between layers, by its Keras name"),
]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels; a batch of 100 grey images of that size takes 7 GB
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Samples = Annotated[int, Field(ge=1, le=10_000)]


# Encoders and decoders


class Encoder(Part):
    """x → the parameters of q(z|x)."""

    kind: ClassVar = "encoder"


class Decoder(Part):
    """z → the parameters of p(x|z)."""

    kind: ClassVar = "decoder"


class MLPEncoder(Encoder):
    """Fully connected; without hidden layers a linear map."""

    name: Literal["mlp"] = "mlp"
    hidden: Hidden = (500, 500)
    activation: Activation = "relu"


class MLPDecoder(Decoder):
    """Fully connected; without hidden layers a linear map."""

    name: Literal["mlp"] = "mlp"
    hidden: Hidden = (500, 500)
    activation: Activation = "relu"


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
    kernel_size: KernelSize = Field(3, description="the side of every kernel, in pixels")
    dense: Width = Field(512, description="the width of the dense layer that the code enters")
    activation: Activation = "gelu"


# Posteriors


class Posterior(Part):
    """q(z|x).

    Attributes:
        has_density: whether q(z|x) has one; without it there is no KL, no ELBO and no NLL.
        normal: whether q(z|x) is a multivariate normal: its moments and marginals are known, and the density of any
            code takes one pass.
    """

    kind: ClassVar = "posterior"
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


# Priors


class Prior(Part):
    """p(z).

    Attributes:
        learned: whether it has weights.
        normal: whether it is a normal with a diagonal covariance.
        of_posteriors: whether it is made of the posteriors of inputs, so that it needs the density of any code.
    """

    kind: ClassVar = "prior"
    learned: ClassVar[bool] = True
    normal: ClassVar[bool] = False
    of_posteriors: ClassVar[bool] = False


class StandardNormal(Prior):
    """N(0, I)."""

    name: Literal["standard_normal"] = "standard_normal"
    learned: ClassVar[bool] = False
    normal: ClassVar[bool] = True


class Mixture(Prior):
    """A learned mixture of normals with diagonal covariances."""

    name: Literal["mixture"] = "mixture"
    components: Width = Field(50, description="K, how many normals")


class VampPrior(Prior):
    """A mixture of the posteriors of learned pseudo-inputs."""

    name: Literal["vamp"] = "vamp"
    of_posteriors: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("image",)
    components: Width = Field(500, description="K, how many pseudo-inputs")


# Likelihoods


class Likelihood(Part):
    """p(x|z).

    Attributes:
        density: whether it gives densities, whose logarithm can be above 0, and not probabilities.
        binary: whether it describes zeros and ones alone.
    """

    kind: ClassVar = "likelihood"
    density: ClassVar[bool] = False
    binary: ClassVar[bool] = False


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
    """A normal with one scale for all elements."""

    name: Literal["normal"] = "normal"
    density: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ("image", "vector")
    scale: Annotated[float, Field(ge=1e-3, le=1e3)] = Field(
        0.1, description="the standard deviation, in units of x; of an image these reach from 0 to 1"
    )
    learned: bool = Field(False, description="train the scale, from that start (Rybkin et al. 2021)")


class DiscretizedLogistic(Likelihood):
    """A logistic over the 256 grey levels of an image."""

    name: Literal["discretized_logistic"] = "discretized_logistic"
    examples: ClassVar[tuple[str, ...]] = ("image",)


class Categorical(Likelihood):
    """One categorical distribution for each token of a sequence."""

    name: Literal["categorical"] = "categorical"
    examples: ClassVar[tuple[str, ...]] = ("sequence",)


# Objectives


class WarmUp(Section):
    """A weight that moves linearly from `start` to `end` over the first `steps` steps, and stays there."""

    start: Weight = Field(0.0, description="the weight at the first step")
    end: Weight = Field(1.0, description="the weight after `steps` steps")
    steps: Annotated[int, Field(ge=1, le=10**9)] = Field(description="of the optimizer")


Beta = Annotated[
    Annotated[Weight, Tag("<number>")] | Annotated[WarmUp, Tag("<warm_up>")],
    Discriminator(lambda value: "<warm_up>" if isinstance(value, dict | WarmUp) else "<number>"),
]


class Objective(Part):
    """What training minimizes.

    Attributes:
        terms: the names of its terms, from the loss back to what it is made of. All but the loss are shown.
        has_bound: whether it has a KL, and so an ELBO.
        shown: the terms but the loss.
        needs_normal: whether it needs a posterior that is normal.
        needs_closed_form: whether it needs a KL in closed form.
    """

    kind: ClassVar = "objective"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "kl")
    has_bound: ClassVar[bool] = True
    shown: ClassVar[tuple[str, ...]] = ("elbo", "reconstruction", "kl")

    @property
    def needs_normal(self) -> bool:  # noqa: D102  described above
        return False

    @property
    def needs_closed_form(self) -> bool:  # noqa: D102  described above
        return False

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

    @property
    def needs_closed_form(self) -> bool:  # noqa: D102  described in the base class
        return self.kl == "closed_form"


class BetaELBO(ELBO):
    """The ELBO with weights on its two terms."""

    name: Literal["beta"] = "beta"
    beta: Beta = Field(4.0, description="the weight of the KL: a number, or a warm-up {start, end, steps}")
    reconstruction_weight: Weight = Field(
        1.0, description="the weight of the reconstruction; at 0 the KL alone is left, and the decoder learns nothing"
    )


class FactorELBO(ELBO):
    """The ELBO and a penalty on the total correlation, which a critic estimates."""

    name: Literal["factor"] = "factor"
    terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "total_correlation", "critic", "kl")
    gamma: Weight = Field(10.0, description="the weight of the total correlation")
    hidden: Widths = Field((1000, 1000, 1000, 1000, 1000), description="the widths of the critic's hidden layers")


class IWAE(Objective):
    """The importance-weighted bound."""

    name: Literal["iwae"] = "iwae"
    samples: Samples = Field(5, description="K")
    doubly_reparameterized: bool = Field(
        False, description="take the gradient of Tucker et al. (2019), whose noise does not grow with K"
    )

    @property
    def needs_normal(self) -> bool:  # noqa: D102  described in the base class
        return self.doubly_reparameterized


class Reconstruction(Objective):
    """The reconstruction alone: the plain autoencoder."""

    name: Literal["reconstruction"] = "reconstruction"
    terms: ClassVar[tuple[str, ...]] = ("loss", "reconstruction")
    has_bound: ClassVar[bool] = False


# The recipe


class Model(Section):
    """The five parts, the objective that trains them, and the size of the latent space."""

    latent_dim: Width = Field(description="D, the number of latent variables")
    conditional: bool = Field(False, description="whether the encoder and the decoder see the label")
    encoder: one_of(Encoder)
    posterior: one_of(Posterior) = DiagonalNormal()
    prior: one_of(Prior) = StandardNormal()
    decoder: one_of(Decoder)
    likelihood: one_of(Likelihood)
    objective: one_of(Objective) = ELBO()

    @model_validator(mode="after")
    def _parts_fit(self):
        posterior, prior, objective = self.posterior, self.prior, self.objective
        if objective.has_bound and not posterior.has_density:
            raise ValueError(
                f"the objective '{objective.name}' needs a KL, which is infinite for the posterior '{posterior.name}'; "
                "set model.objective=reconstruction, or model.posterior=diagonal_normal"
            )
        if prior.learned and not objective.has_bound:
            raise ValueError(
                f"the objective '{objective.name}' has no KL, so the prior '{prior.name}' would learn nothing; "
                "set model.prior=standard_normal"
            )
        if prior.of_posteriors and not posterior.normal:
            raise ValueError(
                f"the prior '{prior.name}' needs the density of a code under every pseudo-input's posterior, which "
                f"takes '{posterior.name}' a pass for each latent; set model.posterior=diagonal_normal, or "
                "model.prior=mixture"
            )
        if objective.needs_closed_form and not (posterior.normal and prior.normal):
            raise ValueError(
                f"there is no closed-form KL from the posterior '{posterior.name}' to the prior '{prior.name}'; "
                "set model.objective.kl=auto"
            )
        if objective.needs_normal and not posterior.normal:
            raise ValueError(
                f"the doubly-reparameterized gradient is for normal posteriors, not for '{posterior.name}'; "
                "set model.objective.doubly_reparameterized=false, or model.posterior=diagonal_normal"
            )
        return self


class Data(Section):
    """Which examples, how many of them are held out, and whether images are made black and white."""

    name: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096)] = Field(
        "glyphs", description="glyphs, a tensorflow-datasets name, a folder of images, an .npy or .npz file"
    )
    binarize: Literal["none", "threshold", "dynamic"] = Field("none", description="grey levels to zeros and ones")
    validation: Annotated[float, Field(ge=0, le=0.5)] = Field(0.05, description="the share of training held out")
    image_size: Annotated[tuple[Side, Side], Field(strict=False)] | None = Field(
        None, description="height and width to resize every image to"
    )


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
    """A complete recipe: what `zoo_configs/NAME.yaml` holds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    summary: str = ""
    paper: str = ""
    parameters: Annotated[int, Field(ge=0, le=10**12)] | None = None  # at the default size; a test counts them
    expected_elbo: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None  # of MNIST's test images, if measured
    model: Model
    data: Data = Data()
    training: Training = Training()
