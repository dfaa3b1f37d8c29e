"""Fit a new prior to a trained model, its networks held fixed: the prior then follows the aggregated posterior."""

import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vaezoo.atomic import write_file
from vaezoo.config import recipe_of
from vaezoo.errors import VaezooError
from vaezoo.presets import open_run
from vaezoo.reading import LARGEST_TABLE
from vaezoo.regular_files import read_bytes
from vaezoo.runs import free_path, image_cache
from vaezoo.seeds import TRAINING, fold_seed
from vaezoo.tables import aligned
from vaezoo.training.fit import EVALUATION_BATCH, Trained, printer
from vaezoo.training.results import leave_results
from vaezoo.training.run_directory import RunDirectory
from vaezoo.training.setup import prepare

MOST = 50_000  # training examples whose codes the prior is fitted to
BATCH, STEPS, LEARNING_RATE = 256, 2000, 1e-3
LOOKS = 10  # times that the held-out codes are looked at; the best weights are kept
COMPONENTS = 20  # of a mixture, unless another number is asked for or there are fewer examples


def refit(run, prior, changes=None, out=None, quiet=False) -> Trained:
    """Fit a new prior to the codes of a trained model, and write it as a run directory of its own.

    What is maximized is E log p(z) over codes z ~ q(z|x) of the training examples, which is the ELBO as a function of
    the prior alone. The codes of the validation examples choose the best weights. An autoencoder has one code for each
    example; with a prior fitted to them it can be sampled from.

    Args:
        run: the folder of a run, or a preset; it is not changed.
        prior: the name of a learned prior: "mixture", "flow" or "vamp".
        changes: values by dotted key for the keywords of the prior, as in {"model.prior.components": 50}.
        out: the new run directory; by default RUN-PRIOR, or the first of RUN-PRIOR-2, ... that is free.
        quiet: print nothing.

    Returns:
        A `Trained`.

    Raises:
        VaezooError: for a prior without weights, or with more components than training examples, or made of posteriors
            that have no density; a run whose data are gone; a folder that cannot be written.

    Source: Hoffman & Johnson 2016, "ELBO surgery", for the gap that a better prior closes; Ghosh et al. 2020,
    arXiv:1903.12436, for density estimation after training.
    """
    run = open_run(run)
    changes = dict(changes or {})
    for key in changes:
        if not key.startswith("model.prior"):
            raise VaezooError(f"'{key}' cannot change in a refit; allowed are keys of model.prior")
    if "images" not in run.environment:
        raise VaezooError(f"'{run.path / 'environment.json'}' does not say how many images there are; train again")
    images = run.environment["images"]["train"]
    keywords = {"covariance": "full", "components": min(COMPONENTS, images)} if prior == "mixture" else {}
    recipe = recipe_of(run.recipe.model_dump(mode="json"), {"model.prior": {"name": prior, **keywords}, **changes})
    section = recipe.model.prior
    if not section.learned:
        raise VaezooError(f"the prior '{section.name}' has no weights to fit; give mixture, flow or vamp")
    components = section.keywords().get("components", 1)
    if components > images:
        raise VaezooError(
            f"{components} components for {images} training examples; set model.prior.components to {images} or fewer"
        )

    say = printer(quiet)
    setup = prepare(recipe, lambda line: say(f"warning: {line}"), cache=image_cache(run.path), quiet=quiet)
    out = Path(out or free_path(run.path.with_name(f"{run.path.name}-{section.name}")))
    with RunDirectory(out) as directory:
        try:
            before, test = _refit(run, setup, directory, components, say)
        except BaseException:
            directory.discard()
            raise
    say(f"\ntest metrics (nats per example)\n{_table(before, test)}\n\nthe run is in {directory.path}")
    return Trained(directory.path, setup.model, test)


def _refit(run, setup, directory, components, say):
    """Fit the prior of a new model and write its run directory; returns the test metrics before and after."""
    model, data = setup.model, setup.data
    for part in ("encoder", "decoder", "posterior", "likelihood", "objective"):
        getattr(model, part).set_weights(getattr(run.model, part).get_weights())
    x, _ = data.train.first(components, binarize=setup.recipe.data.binarize, seed=model.seed)
    codes = (FitCodes(model, split, setup.batches) for split in (data.train, data.validation or data.test))
    costs = _fit(model, *codes, x, say)
    batches = data.test.batches(EVALUATION_BATCH, **setup.batches)
    before, test = (scored.evaluate(batches, verbose=0, return_dict=True) for scored in (run.model, model))
    directory.recipe(setup.recipe)
    directory.json("test.json", {**test, "images": len(data.test)})
    directory.model("model.keras", model)
    leave_results(directory, setup, model, None)
    for name in ("metrics.csv", "curves.png"):  # the training of the networks
        if os.path.lexists(run.folder / name):
            content = read_bytes(run.folder / name, LARGEST_TABLE)
            write_file(directory.path / name, lambda path, content=content: path.write_bytes(content))
    directory.status(setup.environment, "finished", refitted=str(run.folder.resolve()), held_out=costs)
    return before, test


def _table(before, after):
    rows = [(f"  {name}", f"{before[name]:.3f}", f"{value:.3f}") for name, value in after.items()]
    return aligned([("", "before", "after"), *rows], right=[1, 2])


class FitCodes:
    """What the encoder gives for the first MOST examples of a split, to draw codes from; the examples are not kept."""

    def __init__(self, model, split, batches):
        self.model = model
        self.parts = []
        for batch in split.batches(EVALUATION_BATCH, count=MOST, **batches):
            batch = model.batch(batch)
            params = tf.nest.map_structure(np.asarray, model.encoder_params(batch))
            self.parts.append((params, {"label": batch["label"]} if "label" in batch else {}))

    def draw(self, number):
        """A code for each example [N,D]; another number gives other draws."""
        codes, posterior = [], self.model.posterior
        for place, (params, label) in enumerate(self.parts):
            rows = tf.shape(tf.nest.flatten(params)[0])[0]
            seed = fold_seed(self.model.seed, TRAINING, number * len(self.parts) + place)
            noise = posterior.noise([1, rows, self.model.latent_dim], seed)
            _, z, _ = posterior.draw(params, noise, self.model.decoder_of(label))
            codes.append(z[0])
        return np.concatenate(codes)


def _fit(model, train, held_out, x, say):
    """Fit the prior; returns the nats a held-out code costs at the start and at each look."""
    weights = model.prior.trainable_variables
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=10.0)

    @tf.function(autograph=False, reduce_retracing=True)
    def cost(z):
        return -tf.reduce_mean(model.prior_distribution().log_prob(z))

    @tf.function(autograph=False, reduce_retracing=True)
    def step(z):
        with tf.GradientTape() as tape:
            loss = cost(z)
        optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)

    def look():
        costs.append(float(np.mean([cost(part) for part in np.array_split(seen, -(-len(seen) // EVALUATION_BATCH))])))
        if costs[-1] == min(costs):
            best[:] = [weight.numpy() for weight in weights]

    seen, codes = held_out.draw(-1), train.draw(0)
    model.prior.start(codes, x, model.seed)
    costs, best, done, number = [], [], 0, 0
    look()
    while done < STEPS:
        order = np.random.default_rng([model.seed, number]).permutation(len(codes))
        size = min(BATCH, len(codes))
        for start in range(0, len(codes) - size + 1, size):
            if done == STEPS:
                break
            step(codes[order[start : start + size]])
            done += 1
            if done % (STEPS // LOOKS) == 0:
                look()
                say(f"step {done:,}/{STEPS:,}  -log p(z) of held-out codes {costs[-1]:.2f} (at first {costs[0]:.2f})")
        number += 1
        codes = train.draw(number)
    for weight, value in zip(weights, best, strict=True):
        weight.assign(value)
    return costs
