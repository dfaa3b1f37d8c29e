"""A VAE of rows of numbers as a scikit-learn estimator. TensorFlow is imported at the first fit."""

import math
import numbers
import os
import warnings
from collections.abc import Iterable

import numpy as np

from vaezoo.errors import VaezooError

try:
    from scipy.stats.qmc import MultivariateNormalQMC
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"vaezoo.sklearn needs scikit-learn: pip install 'vaezoo[sklearn]' ({error})") from None

LOOK, PATIENCE = 100, 5  # steps between two looks at the held-out rows, and looks without progress before the end
CALL = 20  # steps in one call
MOST_STEPS = 10_000  # of a training whose number of epochs is not given
BLOCK = 128  # rows scored at once
FALSE_OUTLIERS = 0.01  # the share of new rows below the threshold "auto"
ROWS = "data.npz"  # in a run directory that `save_run` wrote
UNITS = ("column_mean", "column_scale")  # in that file
FARTHEST = 1e10  # standard deviations from the mean; the square of a few times more overflows float32


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, BaseEstimator):
    """A variational autoencoder of rows of numbers: a density, a code for each row, and an outlier detector.

    Rows are standardized inside, so that columns may have any unit; densities, samples and reconstructions are in the
    units of X. A part of the rows is held out of training: the weights with the smallest loss on them are kept, and
    training ends when it no longer falls.

    Args:
        latent_dim: D, the number of latent variables.
        hidden: the widths of the hidden layers of the encoder, and reversed of the decoder; () for linear maps.
        likelihood: p(x|z) of a standardized row: a name of `vaezoo list --parts`, or a mapping with its keywords.
            "normal" learns its scale.
        beta: the weight of the KL in the loss; 1 for the ELBO.
        epochs: the most passes over the training rows, of which up to 6 % are left out so that all looks at the
            held-out rows are equally far apart; None for as many as make 10,000 steps, at least 10.
        batch_size: rows in a step.
        learning_rate: of Adam.
        validation_fraction: of the rows, held out of training, in (0, 0.5]; at least one row.
        contamination: of the rows given to `fit`, the share that `predict` calls outliers, in (0, 0.5]; or "auto" for a
            threshold that a hundredth of new rows like them fall below, by the held-out rows. That takes 990 rows: with
            N held out, fewer than 99, the smallest of their densities is the threshold, which 1 / (N + 1) fall below.
        importance_samples: K, the draws for each row in `score_samples`.
        standardize: whether to standardize; False for a likelihood of zeros and ones.
        model: other keys of the section `model` of the recipe, as in {"prior": "mixture", "posterior": "flow"}.
        random_state: of the weights, the batches, the held-out rows and all noise.
        verbose: as in `keras.Model.fit`; 0 for silence.

    Attributes:
        model_: the trained `VAE`, of standardized rows.
        recipe_: its resolved `Recipe`.
        mean_, scale_: of each column [F]; a standardized row is (x - mean_) / scale_.
        offset_: the threshold: `decision_function` is `score_samples` - offset_.
        history_: name of a term → its value at each look, in nats per row.
        n_features_in_, feature_names_in_: as in every estimator.

    Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114.
    """

    def __init__(
        self,
        latent_dim=8,
        *,
        hidden=(128, 128),
        likelihood="normal",
        beta=1.0,
        epochs=None,
        batch_size=128,
        learning_rate=1e-3,
        validation_fraction=0.1,
        contamination="auto",
        importance_samples=128,
        standardize=True,
        model=None,
        random_state=None,
        verbose=0,
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.contamination = contamination
        self.importance_samples = importance_samples
        self.standardize = standardize
        self.model = model
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """Train on rows.

        Args:
            X: rows [N,F], real numbers; N is at least 2.
            y: ignored.

        Returns:
            The estimator.

        Raises:
            ValueError: for rows with NaN or infinities, a sparse matrix, or fewer than 2 rows; as a VaezooError, for a
                keyword that is not allowed.
        """
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        self._check_keywords()
        import keras  # here: it takes seconds

        from vaezoo.data import Data
        from vaezoo.data.indexed import ArraySplit
        from vaezoo.spec import Spec
        from vaezoo.training.setup import prepare

        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        train, held_out = _divided(len(X), self.validation_fraction, seed)
        self.mean_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.standardize:
            scaler = StandardScaler().fit(X[train])
            self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        rows, spec = self._standardized(X), Spec("vector", X.shape[1:])
        train, held_out = (ArraySplit(rows[part], spec) for part in (train, held_out))
        data = Data("X", spec, train, held_out, held_out)
        setup = prepare(self._recipe(seed, len(train)), warnings.warn, data=data)
        self.recipe_, model = setup.recipe, setup.model
        # A look at the held-out rows takes milliseconds, as many as dozens of steps on a small table: so a table has
        # LOOK steps between two looks, although they are many passes over it.
        most = self.recipe_.training.epochs * setup.steps
        looks = math.ceil(most / max(setup.steps, LOOK))
        # Equal calls in equal looks, of at most so many steps in all, up to 6 % fewer. A call may run over the
        # end of a pass.
        calls = math.ceil(most / (looks * CALL))
        model.steps_per_execution = most // (looks * calls)
        self.history_ = model.fit(
            train.training_batches(self.recipe_.training.batch_size, setup.steps, **setup.batches),
            epochs=looks,
            steps_per_epoch=calls * model.steps_per_execution,
            validation_data=held_out.batches(BLOCK, **setup.batches),
            shuffle=False,
            verbose=self.verbose,
            callbacks=[
                setup.watch,
                keras.callbacks.EarlyStopping("val_loss", patience=PATIENCE, restore_best_weights=True),
            ],
        ).history
        self._take(model)
        self._calibrate(train.x, held_out.x)
        return self

    def transform(self, X):
        """The code of each row: the mean of its posterior q(z|x).

        Args:
            X: rows [N,F].

        Returns:
            Codes, float32 [N,D].
        """
        from vaezoo.models.in_batches import embed

        return embed(self.model_, self._checked(X))

    def inverse_transform(self, X):
        """The row of each code: the mean of p(x|z).

        Args:
            X: codes [N,D].

        Returns:
            Rows, float64 [N,F], in the units of the training rows.
        """
        check_is_fitted(self)
        from vaezoo.models.in_batches import decode

        return self._in_units(decode(self.model_, check_array(X)))

    def score_samples(self, X):
        """The log-density of each row, log p(x), in nats: the larger, the more typical.

        It is the importance-weighted bound log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x), which is at most
        log p(x) in expectation. The draws come from the same points of a Sobol sequence for every row and in every
        call, so the score of a row does not depend on the others.

        Args:
            X: rows [N,F].

        Returns:
            float64 [N].

        Source: Burda et al. 2016, "Importance Weighted Autoencoders", arXiv:1509.00519, equation 8.
        """
        return self._log_density(self._checked(X))

    def score(self, X, y=None):
        """The mean log-density of rows [N,F], in nats per row; what `GridSearchCV` maximizes. `y` is ignored."""
        return float(self.score_samples(X).mean())

    def decision_function(self, X):
        """The log-density of each row minus the threshold [N]: negative for an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """-1 for each outlier among rows [N,F], 1 for the others; [N]."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def sample(self, n_samples=1, random_state=None):
        """Draw new rows: z ~ p(z), then x ~ p(x|z).

        Args:
            n_samples: N.
            random_state: of the draws; None for that of the training, so that each call draws the same rows.

        Returns:
            Rows, float64 [N,F].
        """
        check_is_fitted(self)
        from vaezoo.seeds import SAMPLING, fold_seed

        model = self.model_
        seed = model.seed if random_state is None else check_random_state(random_state).randint(2**31 - 1)
        drawn = model.decode(model.prior_codes(n_samples, seed)).sample(seed=fold_seed(seed, SAMPLING, 1))
        return self._in_units(np.asarray(drawn))

    @classmethod
    def from_run(cls, path, **keywords):
        """The fitted estimator of a run of vectors.

        Its threshold is that of the test rows of the run, whose data must still be there. Its keywords are those of the
        recipe, so that `fit` trains the same recipe on other rows.

        Args:
            path: the folder of a run that `vaezoo train` or `save_run` wrote.
            **keywords: of the constructor, in place of those of the recipe.

        Returns:
            A fitted `VAE`.

        Raises:
            VaezooError: if the folder holds no run, or one of a model that is not for plain vectors, or if its data
                cannot be read.
        """
        from vaezoo.runs import Run

        run = Run(path)
        spec, model, training = run.model.spec, run.recipe.model, run.recipe.training
        if spec.kind != "vector" or spec.conditional or not run.model.posterior.has_density:
            label = " with labels" * spec.conditional
            raise VaezooError(
                f"'{path}' is a run of {spec}{label} with the posterior '{model.posterior.name}'; give a run of "
                "vectors without labels, whose posterior has a density"
            )
        parts = {name: part for name, part in model.model_dump(mode="json").items() if isinstance(part, dict)}
        train, held_out = run.data.train.first()[0], run.data.test.first()[0]  # first: it checks the file of the units
        units = _units_of(run.recipe.data.name)
        estimator = cls(
            **{
                "latent_dim": model.latent_dim,
                "epochs": training.epochs,
                "batch_size": training.batch_size,
                "learning_rate": training.learning_rate,
                "standardize": bool(units),
                "model": parts,
                "random_state": training.seed,
                **keywords,
            }
        )
        cls._check_keywords(estimator)
        estimator.n_features_in_ = spec.size
        estimator.mean_, estimator.scale_ = units or (np.zeros(spec.size), np.ones(spec.size))
        estimator.recipe_, estimator.history_ = run.recipe, {}
        cls._take(estimator, run.model)
        cls._calibrate(estimator, train, held_out)
        return estimator

    def save_run(self, path, X):
        """Write a run directory, as `vaezoo train` does, so that every command takes it.

        Args:
            path: the folder; it must hold no run.
            X: the rows that the estimator was fitted to [N,F]. They stand in data.npz in the folder, standardized, with
                the held-out rows as the test split. (An estimator keeps no rows, so that its pickle holds none.)

        Returns:
            The path.

        Raises:
            VaezooError: for other rows than those it was fitted to, or a folder that holds a run or cannot be written.
        """
        from vaezoo.atomic import write_arrays
        from vaezoo.training.fit import EVALUATION_BATCH
        from vaezoo.training.results import leave_results
        from vaezoo.training.run_directory import RunDirectory
        from vaezoo.training.setup import prepare

        rows, recipe = self._checked(X), self.recipe_
        train, held_out = _divided(len(rows), recipe.data.validation, recipe.training.seed)
        if self.standardize and not np.allclose(rows[train].mean(axis=0, dtype="float64"), 0, atol=1e-4):
            raise VaezooError(
                "these are not the rows that the estimator was fitted to, in that order; give the X of fit"
            )
        arrays = {
            "x": rows[train],
            "x_test": rows[held_out],
            **dict(zip(UNITS, (self.mean_, self.scale_), strict=True)),
        }
        history = [dict(zip(self.history_, row, strict=True)) for row in zip(*self.history_.values(), strict=True)]
        history = [{"epoch": number, **row} for number, row in enumerate(history, 1)]
        with RunDirectory(path) as run:
            data = run.path / ROWS
            if os.path.lexists(data):
                raise VaezooError(f"'{data}' exists already, and is never overwritten; give another path")
            try:
                write_arrays(data, arrays)
                named = recipe.data.model_copy(update={"name": str(data), "validation": 0.0})
                setup = prepare(recipe.model_copy(update={"data": named}), warnings.warn)
                setup.model.set_weights(self.model_.get_weights())
                batches = setup.data.test.batches(EVALUATION_BATCH, **setup.batches)
                test = setup.model.evaluate(batches, verbose=0, return_dict=True)
                run.recipe(setup.recipe)
                run.json("test.json", {**test, "images": len(held_out)})
                run.model("model.keras", setup.model)
                leave_results(run, setup, setup.model, history, warnings.warn)
                if history:
                    run.table("metrics.csv", history)
                run.status(setup.environment, "finished")
            except BaseException:
                run.discard()
                data.unlink(missing_ok=True)
                raise
        return run.path

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # the type of the networks
        return tags

    @property
    def _n_features_out(self):
        return self.model_.latent_dim

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_log_weights"}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "model_" in state:
            self._log_weights = _log_weights(self.model_)

    def _check_keywords(self):
        """Refuse what no recipe checks."""
        if isinstance(self.hidden, str) or not isinstance(self.hidden, Iterable):
            raise VaezooError(f"hidden is {self.hidden!r}; it must be a sequence of widths, as in (64,) or ()")
        share = self.validation_fraction
        if not (_is_number(share) and 0 < share <= 0.5):
            raise VaezooError(f"validation_fraction is {share!r}; it must be a number in (0, 0.5]")
        share = self.contamination
        if share != "auto" and not (_is_number(share) and 0 < share <= 0.5):
            raise VaezooError(f"contamination is {share!r}; it must be 'auto' or a number in (0, 0.5]")
        if not (isinstance(self.importance_samples, numbers.Integral) and self.importance_samples > 0):
            raise VaezooError(f"importance_samples is {self.importance_samples!r}; it must be an integer, at least 1")

    def _recipe(self, seed, count):
        """The `Recipe` of the keywords, for so many training rows."""
        from vaezoo.config import load_recipe

        hidden = [_plain(width) for width in self.hidden]
        learned = {"name": "normal", "scale": 1.0, "learned": True}
        model = {
            "latent_dim": self.latent_dim,
            "encoder": {"name": "mlp", "hidden": hidden},
            "decoder": {"name": "mlp", "hidden": hidden[::-1]},
            "likelihood": learned if self.likelihood == "normal" else self.likelihood,
            "objective": {"name": "beta", "beta": _plain(self.beta)},
            **(self.model or {}),
        }
        training = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "schedule": "constant",  # the held-out rows decide where the training ends
            "compilation": "graph",  # XLA takes 5 s to compile, which 4,000 steps do not win back
            "seed": seed,
        }
        changes = {
            "name": "sklearn",
            "summary": "The model of vaezoo.sklearn.VAE",
            "data.binarize": "none",
            "data.validation": _plain(self.validation_fraction),
            **{f"model.{key}": _plain(value) for key, value in model.items()},
            **{f"training.{key}": _plain(value) for key, value in training.items()},
        }
        recipe = load_recipe("mlp_vae", changes)
        training = recipe.training
        batch_size = min(training.batch_size, count)
        steps = count // batch_size
        decided = {"batch_size": batch_size, "epochs": training.epochs or max(10, math.ceil(MOST_STEPS / steps))}
        return recipe.model_copy(update={"training": training.model_copy(update=decided)})

    def _take(self, model):
        """Keep a trained model, without its optimizer: a pickle is then a third as large."""
        model.optimizer, model.compiled, model.train_function = None, False, None
        self.model_, self._log_weights = model, _log_weights(model)

    def _calibrate(self, train, held_out):
        """Set the threshold from standardized rows."""
        if self.contamination == "auto":
            # A new row is equally likely at each of the N + 1 places among N rows like it, so k / (N + 1) of them are
            # below the k-th smallest.
            scores = np.sort(self._log_density(held_out))
            smallest = max(int(FALSE_OUTLIERS * (len(scores) + 1)), 1)
            self.offset_ = float(np.nextafter(scores[smallest - 1], np.inf))
        else:
            scores = self._log_density(np.concatenate([train, held_out]))
            self.offset_ = float(np.quantile(scores, self.contamination))

    def _checked(self, X):
        """Rows that are given to a fitted estimator, checked and standardized: float32 [N,F]."""
        check_is_fitted(self)
        return self._standardized(validate_data(self, X, dtype=(np.float64, np.float32), reset=False))

    def _standardized(self, X):
        with np.errstate(over="ignore"):
            return np.clip((X - self.mean_) / self.scale_, -FARTHEST, FARTHEST).astype("float32")

    def _in_units(self, rows):
        return rows * self.scale_ + self.mean_

    def _log_density(self, rows):
        """log p(x) of standardized rows [N,F], per unit of X: float64 [N]."""
        model, samples = self.model_, self.importance_samples
        # Every row has the same draws, so their error would not average out over the rows. Points of a scrambled Sobol
        # sequence, of which each is normal, have a fifth of the error of independent ones on a linear model.
        sequence = MultivariateNormalQMC(np.zeros(model.latent_dim), rng=model.seed)
        noise = sequence.random(2 ** math.ceil(math.log2(samples)))[:samples, None].astype("float32")  # [K,1,D]
        scores = []
        for start in range(0, len(rows), BLOCK):
            # The last block is filled up: the last bit of a result depends on the size of the batch.
            block = np.resize(rows[start : start + BLOCK], (BLOCK, rows.shape[1]))
            scores.append(np.logaddexp.reduce(self._log_weights(block, noise).numpy().astype("float64"), axis=0))
        return np.concatenate(scores)[: len(rows)] - math.log(samples) - np.log(self.scale_).sum()


def _log_weights(model):
    """Rows [BLOCK,F] and noise [K,1,D] → log p(x|z) + log p(z) - log q(z|x) [K,BLOCK], as one graph."""
    import tensorflow as tf

    from vaezoo.models.graph import Graph

    def log_weights(x, noise):
        passed = model.forward(x, noise=tf.repeat(noise, BLOCK, axis=1))
        return passed.log_likelihood - passed.log_ratio

    shapes = [BLOCK, *model.spec.shape], [None, 1, model.latent_dim]
    return Graph(log_weights, *(tf.TensorSpec(shape) for shape in shapes))


def _divided(count, fraction, seed):
    """The indices of the training rows and of the held-out rows; both in order."""
    order, held_out = np.random.default_rng(seed).permutation(count), max(1, round(count * fraction))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _units_of(name):
    """The mean and the scale [F] of the columns that `save_run` left in the data of a run; None for other data."""
    if not name.endswith(ROWS):
        return None
    with np.load(name, allow_pickle=False) as arrays:
        return tuple(arrays[key] for key in UNITS) if set(UNITS) <= set(arrays.files) else None


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _plain(value):
    """A number of NumPy as one of Python, since recipes hold no other."""
    return value.item() if isinstance(value, np.generic) else value
