"""What a recipe may say: every key of the YAML file with its type, its range, its default and its meaning.

Those of the parts are in `part_schema`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vaezoo import part_schema
from vaezoo.sections import Section, one_of, shown
from vaezoo.spec import COLUMN_TYPES

Side = Annotated[int, Field(ge=1, le=4096)]  # pixels; a batch of 100 grey images of that size takes 7 GB
Seed = Annotated[int, Field(ge=0, lt=2**31)]
ColumnName = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f]+$")]


class Model(Section):
    """The five parts, the objective that trains them, and the size of the latent space."""

    latent_dim: part_schema.Width = Field(
        description="D, the number of latent variables; of a hierarchy those of its top group"
    )
    conditional: bool = Field(False, description="whether the encoder and the decoder see the label")
    encoder: one_of(part_schema.Encoder)
    posterior: one_of(part_schema.Posterior) = part_schema.DiagonalNormal()
    prior: one_of(part_schema.Prior) = part_schema.StandardNormal()
    decoder: one_of(part_schema.Decoder)
    likelihood: one_of(part_schema.Likelihood)
    objective: one_of(part_schema.Objective) = part_schema.ELBO()

    @model_validator(mode="after")
    def _parts_fit(self):
        posterior, prior, objective = self.posterior, self.prior, self.objective
        ladder = {part.kind: part.name for part in (self.encoder, posterior, self.decoder) if part.hierarchical}
        if ladder and len(ladder) < 3:
            has = " and ".join(f"the {kind} '{name}'" for kind, name in ladder.items())
            raise ValueError(
                f"a hierarchy needs all three of model.encoder=ladder, model.posterior=residual_normal and "
                f"model.decoder=ladder, and this has only {has}"
            )
        if objective.has_bound and not posterior.has_density:
            raise ValueError(
                f"the objective '{objective.name}' needs a KL, which is infinite for the posterior '{posterior.name}'; "
                "set model.objective=reconstruction, or model.posterior=diagonal_normal"
            )
        if self.latent_dim < prior.smallest_latent_dim:
            raise ValueError(
                f"the prior '{prior.name}' needs at least {prior.smallest_latent_dim} latents, and model.latent_dim is "
                f"{self.latent_dim}; set model.prior=mixture, or model.latent_dim={prior.smallest_latent_dim}"
            )
        if prior.of_posteriors and not posterior.normal:
            raise ValueError(
                f"the prior '{prior.name}' needs the density of any code under every pseudo-input's posterior, which "
                f"'{posterior.name}' does not give in one pass; set model.posterior=diagonal_normal, or "
                "model.prior=mixture"
            )
        if objective.needs_closed_form and not (posterior.normal and prior.normal):
            raise ValueError(
                f"there is no closed-form KL from the posterior '{posterior.name}' to the prior '{prior.name}'; "
                f"set {objective.needs_closed_form}"
            )
        if objective.needs_normal and not posterior.normal:
            raise ValueError(
                f"this gradient of '{objective.name}' is for normal posteriors, not for '{posterior.name}'; "
                f"set {objective.needs_normal}, or model.posterior=diagonal_normal"
            )
        return self


def _pair(size: Any) -> Any:
    """One side as both sides."""
    return (size, size) if type(size) is int else size


def _colour(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch("white|black|grey|#[0-9a-fA-F]{6}", value)):
        raise ValueError(
            f"'data.background' is {shown(value)}; set white, black, grey, or '#rrggbb' in quotes (a bare # begins "
            "a comment in YAML)"
        )
    return value


class Data(Section):
    """Which examples, how many of them are held out, and whether images are made black and white."""

    name: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096)] = Field(
        "glyphs",
        description="glyphs, shapes, sprites, folk_melodies, a tensorflow-datasets name, a folder of images or tunes, "
        "an .npy or .npz, a .csv or .parquet",
    )
    binarize: Literal["auto", "none", "threshold", "dynamic"] = Field(
        "auto",
        description="grey levels to zeros and ones; auto does it to grey drawings, for a likelihood of zeros and ones",
    )
    validation: Annotated[float, Field(ge=0, le=0.5)] = Field(0.05, description="the share of training held out")
    image_size: Annotated[tuple[Side, Side], Field(strict=False), BeforeValidator(_pair)] | None = Field(
        None, description="height and width of every image, or one number for both; null lets the data decide"
    )
    crop: Literal["center", "pad", "stretch"] = Field(
        "center", description="how an image gets the proportions of image_size"
    )
    background: Annotated[str, BeforeValidator(_colour)] = Field(
        "white",
        description='white, black, grey or "#rrggbb": what transparency lies on, and what padding is filled with',
    )
    flip: bool = Field(False, description="mirror training images left to right at random")
    bars: Annotated[int, Field(ge=1, le=64)] = Field(2, description="the length of a melody, in bars of 16 sixteenths")
    transpose: Literal["key", "none", "random"] = Field(
        "key",
        description="melodies to C major or A minor (key), as written (none), or in training to any key at random",
    )

    columns: dict[ColumnName, Literal[*COLUMN_TYPES, "drop"]] | None = Field(
        None, description="of a table: the type of a column, or drop; null lets the cells decide"
    )
    label: ColumnName | None = Field(None, description="of a table: the column that is the class")

    @property
    def preparation(self) -> dict[str, Any]:
        """How images get one size, tunes one length and key, and cells become numbers: keywords of `load_data`."""
        keys = ("image_size", "crop", "background", "bars", "transpose", "columns", "label")
        return {key: getattr(self, key) for key in keys}


class Training(Section):
    """How long, how fast and at which precision."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = 20  # null lets the number of examples decide
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 128
    learning_rate: Annotated[float, Field(gt=0, le=1e4)] = 1e-3
    # muon: the kernels of convolutions take orthogonal updates; muon_all: those of dense layers too
    optimizer: Literal["adam", "muon", "muon_all"] = "adam"
    beta_2: Annotated[float, Field(ge=0, lt=1)] = 0.999  # decay of Adam's moving average of squared gradients
    schedule: Literal["constant", "cosine", "linear"] = "cosine"  # the last two end at 0
    # A longer gradient is shortened to this (as in Child 2021, arXiv:2011.10650). On binarized MNIST none of the
    # first 150 was longer than 270; under the likelihoods of grey levels the first steps make far longer ones, and
    # Adam then throws the model off: conv_vae on 360 small colour images ended at -894 nats without a limit, and at
    # -464 with it.
    clip_norm: Annotated[float, Field(gt=0, le=1e9)] | None = 1000.0
    # Of each weight, this share times the learning rate is taken away in each step (Loshchilov & Hutter 2019, AdamW).
    weight_decay: Annotated[float, Field(gt=0, le=1e3)] | None = None
    average: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of the moving average of the weights, as 0.999
    keep: Literal["last", "best"] = "last"  # the weights of the last epoch, or of the smallest validation loss
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
