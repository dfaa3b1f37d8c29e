"""table_vae against a Gaussian copula and independent columns, on tables that come with scikit-learn and statsmodels.

    pip install -e '.[tables,test]' statsmodels && python tools/table_models.py --out tables --seeds 3

Each seed shuffles the rows, so that another tenth of them is the test. Of each table and seed:

- the log-likelihood of a test row in nats: of the VAE by 1,000 importance samples;
- the AUROC on test rows of a random forest that is trained on as many samples of each model as there are training rows
  (train on synthetic, test on real), beside that of one trained on the real rows;
- with a fifth of all cells missing completely at random, the error of the filled-in test cells: the root mean square of
  numbers in units of their columns, and the share of wrong values of the others.

A density is in the units of the table, and where numbers are equal in many rows it says little: a narrower kernel
has a larger one. So counts and values have probabilities in both models.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy import special, stats

SMOOTHING = 0.5  # of a row, added to every value or count that a column can have
DRAWS = 200  # of the place of a value within its step of the distribution function
MISSING = 0.2


def tables():
    """name → (DataFrame, the column that is the class), each with the numbers of its package."""
    from sklearn import datasets
    from statsmodels.api import datasets as others

    fair = others.fair.load_pandas().data
    fair = fair.assign(affair=(fair["affairs"] > 0).astype(int)).drop(columns="affairs")
    anes = others.anes96.load_pandas().data.drop(columns="logpopul")
    return {
        "breast_cancer": (datasets.load_breast_cancer(as_frame=True).frame, "target"),
        "wine": (datasets.load_wine(as_frame=True).frame, "target"),
        "digits": (datasets.load_digits(as_frame=True).frame.astype(int), "target"),
        "fair": (fair, "affair"),
        "anes96": (anes, "vote"),
        "randhie": (others.randhie.load_pandas().data, "physlm"),
    }


class Marginal:
    """The distribution of one column from its training cells: a kernel density, or frequencies of values and counts."""

    def __init__(self, column, x):
        x = np.sort(x[~np.isnan(x)].astype("float64"))
        self.discrete = column.type != "continuous"
        if self.discrete:
            top = len(column.values) if not column.is_number else int(x.max()) + 1
            counts = np.bincount(x.astype(int), minlength=top) + SMOOTHING
            # Half a row for all counts beyond those that were seen, geometrically less for each.
            self.mass = counts / (counts.sum() + (SMOOTHING if column.is_number else 0))
            self.tail = 0.0 if not column.is_number else 1 - self.mass.sum()
        else:  # Silverman's rule, with the spread that outliers do not change
            spread = min(x.std(), (np.quantile(x, 0.75) - np.quantile(x, 0.25)) / 1.349 or np.inf) or 1.0
            self.x, self.h = x, 0.9 * spread * len(x) ** -0.2

    def log_prob(self, x):
        """log p of cells [N]."""
        if not self.discrete:
            logs = stats.norm.logpdf(x[:, None], self.x, self.h)
            return special.logsumexp(logs, axis=1) - np.log(len(self.x))
        return np.log(np.maximum(self.cdf(x) - self.cdf(x - 1), 1e-12))

    def cdf(self, x):
        """P(X <= x) of cells [N]."""
        if not self.discrete:
            return np.concatenate([special.ndtr((part[:, None] - self.x) / self.h).mean(1) for part in _parts(x)])
        below = np.concatenate([[0.0], np.cumsum(self.mass)])
        beyond = np.maximum(x - len(self.mass) + 1, 0)
        return below[np.clip(x.astype(int) + 1, 0, len(self.mass))] + self.tail * (1 - 0.5**beyond)

    def quantile(self, u):
        """The x with P(X <= x) = u, for u [N]."""
        if self.discrete:
            last = len(self.mass) - 1
            return np.minimum(np.searchsorted(np.cumsum(self.mass), u), last).astype("float64")
        grid = np.linspace(self.x[0] - 4 * self.h, self.x[-1] + 4 * self.h, 2000)
        return np.interp(u, self.cdf(grid), grid)


def _parts(x, size=500):
    return [x[start : start + size] for start in range(0, len(x), size)] or [x]


class Copula:
    """A normal copula with the marginals of the training columns; its correlations are those of normal scores.

    The probability of a row with discrete columns is the integral of the copula over their steps; it is the mean over
    uniform places within them.
    """

    def __init__(self, columns, x, seed=0):
        self.marginals = [Marginal(column, x[:, place]) for place, column in enumerate(columns)]
        scores = self._scores(x, np.random.default_rng(seed))
        scores = np.where(np.isnan(scores), 0, scores)
        correlation = np.corrcoef(scores.T)
        shrunk = 0.99 * correlation + 0.01 * np.eye(len(correlation))  # columns that are equal have no inverse
        self.normal = stats.multivariate_normal(cov=shrunk)

    def _scores(self, x, rng):
        scores = []
        for marginal, cells in zip(self.marginals, x.T.astype("float64"), strict=True):
            filled = np.nan_to_num(cells)
            high = marginal.cdf(filled)
            low = marginal.cdf(filled - 1) if marginal.discrete else high
            u = low + (high - low) * rng.uniform(size=len(cells))
            scores.append(np.where(np.isnan(cells), np.nan, special.ndtri(np.clip(u, 1e-9, 1 - 1e-9))))
        return np.stack(scores, axis=1)

    def independent(self, x):
        """The log-probability of rows [N] without the copula."""
        return sum(m.log_prob(cells.astype("float64")) for m, cells in zip(self.marginals, x.T, strict=True))

    def log_prob(self, x, seed=1):
        """The log-probability of rows [N]."""
        rng, logs = np.random.default_rng(seed), []
        for _ in range(DRAWS if any(m.discrete for m in self.marginals) else 1):
            scores = self._scores(x, rng)
            logs.append(self.normal.logpdf(scores) - stats.norm.logpdf(scores).sum(1))
        return self.independent(x) + special.logsumexp(logs, axis=0) - np.log(len(logs))

    def sample(self, n, seed=0):
        """Rows [n,F]."""
        u = special.ndtr(self.normal.rvs(n, random_state=seed))
        return np.stack([m.quantile(each) for m, each in zip(self.marginals, u.T, strict=True)], axis=1)


def auroc(x, test, place, seed):
    """Of a random forest that learns the class of rows x [N,F] from the other columns; macro average over classes."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    forest = RandomForestClassifier(200, random_state=seed)
    forest.fit(np.delete(x, place, 1), x[:, place].astype(int))
    classes = np.unique(test[:, place]).astype(int)
    scores = np.zeros((len(test), int(max(classes.max(), forest.classes_.max())) + 1))
    scores[:, forest.classes_] = forest.predict_proba(np.delete(test, place, 1))
    return np.mean([roc_auc_score(test[:, place] == each, scores[:, each]) for each in classes])


def errors(filled, true, masked, columns):
    """(root mean square of masked numbers in units of their columns, share of wrong masked values); NaN for none."""
    from vaezoo.columns import standardized

    numbers = np.array([column.is_number for column in columns])
    difference = standardized(filled, columns) - standardized(true, columns)
    cells = difference[:, numbers][masked[:, numbers]]
    values = (np.round(filled) != true)[:, ~numbers][masked[:, ~numbers]]
    return (np.sqrt((cells**2).mean()) if cells.size else np.nan), (values.mean() if values.size else np.nan)


def trained(frame, folder, recipe, overrides, seed):
    """A trained run of a table."""
    from vaezoo.config import load_recipe
    from vaezoo.runs import Run
    from vaezoo.training import train

    frame.to_csv(folder / "table.csv", index=False)
    settings = {"data.name": str(folder / "table.csv"), "training.seed": seed, **overrides}
    return Run(train(load_recipe(recipe, settings), folder / "run", quiet=True).path)


def densities(frame, label, seed, recipe, overrides):
    """The rows of one table and seed: log-likelihoods and AUROC."""
    from vaezoo.evaluation.nll import estimate_nll

    with tempfile.TemporaryDirectory() as folder:
        run = trained(frame, Path(folder), recipe, overrides, seed)
        columns, (x, _), (test, _) = run.model.spec.columns, run.first("train"), run.first("test")
        copula = Copula(columns, x)
        place = [column.name for column in columns].index(label)
        drawn = np.asarray(run.model.sample(len(x), seed=seed, temperature=1.0))
        return {
            "rows": len(x),
            "columns": len(columns),
            "vae": -estimate_nll(run.model, test, 1000, seed=seed).nll.mean(),
            "copula": copula.log_prob(test).mean(),
            "independent": copula.independent(test).mean(),
            "auroc_real": auroc(x, test, place, seed),
            "auroc_vae": auroc(drawn, test, place, seed),
            "auroc_copula": auroc(copula.sample(len(x), seed), test, place, seed),
        }


def imputations(frame, seed, recipe, overrides):
    """The errors of filled-in test cells of one table and seed."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, SimpleImputer

    from vaezoo.data.table_files import read_table
    from vaezoo.data.tabular import rows_of
    from vaezoo.latent_space import impute

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        mask = np.random.default_rng([seed, 1]).uniform(size=frame.shape) < MISSING
        run = trained(frame.mask(mask), folder, recipe, overrides, seed)
        columns = run.model.spec.columns
        names = [column.name for column in columns]
        frame[names].to_csv(folder / "true.csv", index=False)
        dtypes = {column.name: column.dtype for column in columns}
        true = rows_of(read_table(folder / "true.csv", dtypes)[0], columns, "true.csv")
        held = rows_of(read_table(folder / "table.csv", dtypes)[0], columns, "table.csv", list(frame.columns))
        (x, _), (test, _) = run.first("train"), run.first("test")
        where = [int(np.flatnonzero(((held == row) | np.isnan(held) & np.isnan(row)).all(1))[0]) for row in test]
        true, masked = true[where], np.isnan(test)
        kinds = np.array([column.is_number for column in columns])
        simple = np.where(
            kinds,
            SimpleImputer().fit(x).transform(test),
            SimpleImputer(strategy="most_frequent").fit(x).transform(test),
        )
        iterative = IterativeImputer(random_state=seed, max_iter=10).fit(x).transform(test)
        found = {
            "vae": impute(run.model, test),
            "decoded": np.asarray(run.model(test)),
            "iterative": iterative,
            "mean": simple,
        }
        pairs = {name: errors(each, true, masked, columns) for name, each in found.items()}
        return {
            f"{name}_{kind}": pair[place] for name, pair in pairs.items() for place, kind in enumerate(("rms", "wrong"))
        }


def main():
    from vaezoo.atomic import write_text
    from vaezoo.config import parse_assignments
    from vaezoo.tables import as_csv

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the tables (all)")
    parser.add_argument("--recipe", default="table_vae")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="KEY=VALUE")
    parser.add_argument("--no-imputation", action="store_true")
    parser.add_argument("--out", default="tables", help="the folder of table_models.csv and .md")
    arguments = parser.parse_args()
    overrides, rows, out = parse_assignments(arguments.assignments), [], Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, (frame, label) in tables().items():
        if arguments.names and name not in arguments.names:
            continue
        for seed in range(arguments.seeds):
            shuffled = frame.sample(frac=1, random_state=seed)
            row = {"table": name, "seed": seed, **densities(shuffled, label, seed, arguments.recipe, overrides)}
            if not arguments.no_imputation:
                row |= imputations(shuffled, seed, arguments.recipe, overrides)
            rows.append(row)
            print(
                {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )
            write_text(out / "table_models.csv", as_csv(rows))
    write_text(out / "table_models.md", markdown(rows))


def markdown(rows):
    """Means over the seeds, with the standard error of the mean."""
    keys = [key for key in rows[0] if key not in ("table", "seed", "rows", "columns")]
    lines = [["table", "rows", "columns", *keys], ["-"] * (len(keys) + 3)]
    for name in dict.fromkeys(row["table"] for row in rows):
        own = [row for row in rows if row["table"] == name]
        cells = [name, str(own[0]["rows"]), str(own[0]["columns"])]
        for key in keys:
            values = np.array([row[key] for row in own], "float64")
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
            cells.append("-" if np.isnan(values).all() else f"{values.mean():.3f} ± {error:.3f}")
        lines.append(cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
