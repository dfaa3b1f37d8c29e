"""Outlier detection on small tables with `vaezoo.sklearn.VAE` and scikit-learn's detectors, on the same rows.

    python tools/outlier_table.py                     # prints the table
    python tools/outlier_table.py --seeds 2 --sets breast_cancer

One class is normal. The detectors are fitted to 80 % of its rows; its other rows, and those of all other classes, are
scored. "Called outliers" are the normal ones among them that `predict` gives -1, where a hundredth is asked for.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn import datasets, metrics
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from vaezoo.sklearn import VAE
from vaezoo.tables import aligned

SETS = {  # name → (the loader, the class that is normal)
    "breast_cancer": (datasets.load_breast_cancer, 1),
    "wine": (datasets.load_wine, 1),
    "digits": (datasets.load_digits, 3),
}


class Reconstruction(BaseEstimator):
    """The error of a row's projection on the first principal components, which hold 90 % of the variance."""

    def fit(self, X, y=None):
        """Find the components."""
        self.pca_ = PCA(0.9).fit(X)
        return self

    def score_samples(self, X):
        """Minus the squared error of each row [N]."""
        return -((X - self.pca_.inverse_transform(self.pca_.transform(X))) ** 2).sum(axis=1)


def detectors(seed):
    return {
        "VAE": VAE(random_state=seed),
        "IsolationForest": IsolationForest(random_state=seed),
        "OneClassSVM": OneClassSVM(nu=0.01, gamma="scale"),
        "PCA reconstruction": Reconstruction(),
        "GaussianMixture(1)": GaussianMixture(1, reg_covar=1e-3),
    }


def measured(name, seed):
    """Detector → (AUROC, average precision, share of normal test rows that are called outliers, or NaN)."""
    load, normal = SETS[name]
    X, y = load(return_X_y=True)
    train, test = train_test_split(X[y == normal], test_size=0.2, random_state=seed)
    rows = np.concatenate([test, X[y != normal]])
    outlier = np.arange(len(rows)) >= len(test)
    found = {}
    for detector, estimator in detectors(seed).items():
        pipeline = make_pipeline(StandardScaler(), estimator).fit(train)
        scores = -pipeline.score_samples(rows)
        called = np.mean(pipeline.predict(test) == -1) if detector == "VAE" else np.nan
        found[detector] = (
            metrics.roc_auc_score(outlier, scores),
            metrics.average_precision_score(outlier, scores),
            called,
        )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many; the mean over them and its range are printed")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    lines = [("set", "detector", "AUROC", "smallest", "largest", "average precision", "called outliers")]
    for name in arguments.sets:
        seeds = [measured(name, seed) for seed in range(arguments.seeds)]
        for detector in seeds[0]:
            auroc, precision, called = np.array([found[detector] for found in seeds]).T
            shown = (auroc.mean(), auroc.min(), auroc.max(), precision.mean())
            share = "" if np.isnan(called).any() else f"{called.mean():.1%}"
            lines.append((name, detector, *(f"{value:.3f}" for value in shown), share))
    print(aligned(lines, right=range(2, 7)))


if __name__ == "__main__":
    main()
