"""The disentanglement metrics of points: each is a function (points, rng) → a number, or a list of numbers."""

import warnings

import numpy as np

BATCH = 64  # L, the examples or pairs of a vote, as in Locatello et al. 2019
VOTES = 5000  # to train on, and as many that are held out
TREES, LEAF = 10, 5  # of a forest, and the fewest points in a leaf
ITERATIONS = 1000  # of a solver
PENALTY = 0.1  # of the Lasso of the UDR, on codes of variance 1


def beta_vae_score(points, rng):
    """The accuracy of a linear classifier of mean distances of pairs."""

    def vote(first, group_start, group_size):
        second = _another(first, group_start, group_size, rng)
        return lambda z: np.abs(z[first] - z[second]).mean(1)

    votes, fixed = _votes(points, rng, vote, pairs=True)
    spread = votes[0].std(0)
    used = spread > 0
    train, test = ((part[:, used] - votes[0][:, used].mean(0)) / spread[used] for part in votes)
    if not used.any():
        return 1 / len(points.factors)
    return float((_logistic_regression(train, fixed).predict(test) == fixed).mean())


def _another(place, start, size, rng):
    """Another place of the same group, for places in groups of at least two that begin at `start`."""
    steps = 1 + (rng.random(place.shape) * (size - 1)).astype(int)
    return start + (place - start + steps) % size


def factor_vae_score(points, rng):
    """The accuracy of the vote of the latent that varies least."""

    def vote(first, group_start, group_size):
        chosen = group_start + (rng.random((len(first), BATCH)) * group_size).astype(int)
        return lambda z: z[chosen].var(1)

    votes, fixed = _votes(points, rng, vote, pairs=False)
    variance = points.codes.var(0)
    # Dividing each latent by its standard deviation divides its variance; a constant one never has the smallest.
    train, test = (
        np.where(variance > 0, part / np.where(variance > 0, variance, 1), np.inf).argmin(1) for part in votes
    )
    counts = np.zeros([points.codes.shape[1], len(points.factors)], int)
    np.add.at(counts, (train, fixed), 1)
    return float((counts.argmax(1)[test] == fixed).mean())


def _votes(points, rng, vote, pairs):
    """Two sets of votes [V,D], to train on and held out, and the number of the factor of each vote [V].

    Args:
        points: `reading.Points`.
        rng: of the draws.
        vote: (points as places in the order of the value [v,L] or [v,1], the place where the group of each begins, its
            size) → a function of one latent [N] in that order, which returns the vote [v].
        pairs: whether each vote is about L first points, of any values, or about one.
    """
    shares = np.array_split(np.arange(VOTES), len(points.factors))
    sets = []
    for _ in range(2):
        votes = []
        for factor, share in zip(points.factors, shares, strict=True):
            order = np.argsort(factor.values, kind="stable")
            sizes = np.bincount(factor.values, minlength=factor.count)
            starts = np.cumsum(sizes) - sizes
            places = np.flatnonzero(sizes[factor.values[order]] > 1)
            first = rng.choice(places, [len(share), BATCH if pairs else 1])
            group = factor.values[order][first]
            of_latent = vote(first, starts[group], sizes[group])
            # One latent at a time, since [v,L,D] would be large.
            votes.append(np.stack([of_latent(z) for z in points.codes[order].T], axis=1))
        sets.append(np.concatenate(votes))
    return sets, np.repeat(np.arange(len(points.factors)), [len(share) for share in shares])


def mig(points, rng):
    """The mean gap of information, as a share of the entropy of a factor."""
    entropies = np.array([_entropy(np.bincount(factor.values)) for factor in points.factors])
    # A factor can have lost all values but one in a half, and then has no information to divide.
    return float((_gap(mutual_information(points), 0) / np.where(entropies > 0, entropies, 1)).mean())


def _gap(scores, constant):
    """The difference of the best two latents for each factor [F], of scores [D,F]; or of the one and a constant's."""
    if len(scores) == 1:
        scores = np.stack([scores[0], np.broadcast_to(constant, scores[0].shape)])
    best = np.sort(scores, axis=0)
    return best[-1] - best[-2]


def mutual_information(points):
    """[D,F] in nats."""
    found = np.empty([points.codes.shape[1], len(points.factors)])
    for number, factor in enumerate(points.factors):
        for latent, own in enumerate(points.bin_of.T):
            joint = np.bincount(own * factor.count + factor.values, minlength=points.bins * factor.count)
            joint = joint.reshape(points.bins, factor.count)
            information = _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)
            found[latent, number] = max(0.0, information)
    return found


def _entropy(weights):
    """The entropy in nats of weights of any shape, at least 0 and not all 0."""
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log(shares)).sum())


def sap(points, rng):
    """The mean gap of R² or of the accuracy of one latent."""
    test = _held_out(len(points), rng)
    scores, constant = [], []
    for factor in points.factors:
        if factor.numbers is None:
            scores.append(
                [
                    np.mean([_threshold_accuracy(z, factor.values, mask) for mask in (test, ~test)])
                    for z in points.codes.T
                ]
            )
            constant.append(np.mean([1 / len(np.unique(factor.values[mask])) for mask in (test, ~test)]))
        else:
            scores.append([_squared_correlation(z, factor.numbers) for z in points.codes.T])
            constant.append(0)
    return float(_gap(np.transpose(scores), np.array(constant)).mean())


def _squared_correlation(z, v):
    """R^2 of the linear regression of v on z, or of z on v; 0 if either is constant."""
    z, v = z - z.mean(), v - v.mean()
    size = (z @ z) * (v @ v)
    return float((z @ v) ** 2 / size) if size > 0 else 0.0


def _threshold_accuracy(z, values, test):
    """The balanced accuracy on test points (a mask) of the value with the nearest mean."""
    known, place = np.unique(values[~test], return_inverse=True)
    means = np.bincount(place, z[~test]) / np.bincount(place)
    found = known[np.abs(z[test, np.newaxis] - means).argmin(1)]
    counts = np.bincount(values[test])
    right = np.bincount(values[test], found == values[test])
    return float((right[counts > 0] / counts[counts > 0]).mean())


def _held_out(count, rng):
    """A mask [N] of a random half of the points."""
    test = np.zeros(count, bool)
    test[rng.permutation(count)[: count // 2]] = True
    return test


def dci(points, rng):
    """Disentanglement, completeness and informativeness."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    test = _held_out(len(points), rng)
    importance, informativeness = [], []
    for factor in points.factors:
        settings = {"n_estimators": TREES, "min_samples_leaf": LEAF, "random_state": int(rng.integers(2**31))}
        if factor.numbers is None:
            # By entropy, since every split of equally frequent values decreases the Gini impurity by the same.
            forest = RandomForestClassifier(criterion="entropy", max_features=None, **settings)
            forest.fit(points.codes[~test], factor.values[~test])
            informativeness.append((forest.predict(points.codes[test]) == factor.values[test]).mean())
        else:
            forest = RandomForestRegressor(max_features=None, **settings)
            forest.fit(points.codes[~test], factor.numbers[~test])
            held_out = factor.numbers[test]
            error = np.square(forest.predict(points.codes[test]) - held_out).mean()
            informativeness.append(max(0.0, 1 - error / held_out.var()))
        importance.append(forest.feature_importances_)
    return [*_dci_of(np.transpose(importance)), float(np.mean(informativeness))]


def _dci_of(importance):
    """Disentanglement and completeness of an importance matrix [D,F]."""
    latents, factors = importance.shape
    # A latent that is not used at all has no weight; a factor for which none is used has no completeness.
    about = np.array([1 - _entropy(row) / np.log(max(factors, 2)) if row.any() else 0 for row in importance])
    within = [1 - _entropy(column) / np.log(max(latents, 2)) if column.any() else 0 for column in importance.T]
    weights = importance.sum(1) / (importance.sum() or 1)
    return float(about @ weights), float(np.mean(within))


def modularity(points, rng):
    """The mean share of the information of a latent that is about one factor."""
    squared = mutual_information(points) ** 2
    squared = squared[squared.max(1) > 0]
    if not len(squared):
        return 0.0
    best = squared.max(1)
    return float((1 - (squared.sum(1) - best) / (best * (squared.shape[1] - 1))).mean())


def explicitness(points, rng):
    """The mean of 2 AUC - 1 over the values of all factors."""
    scores = []
    for factor in points.factors:
        test = _held_out_of_each_value(factor.values, rng)
        classifier = _logistic_regression(points.codes[~test], factor.values[~test])
        probability = classifier.predict_proba(points.codes[test])
        scores.append(2 * _roc_auc(probability, classifier.classes_, factor.values[test]) - 1)
    return float(np.mean(scores))


def _held_out_of_each_value(values, rng):
    """A mask [N] of a random half of the points of each value, rounded down: a single point is one to train on."""
    order = rng.permutation(len(values))
    order = order[np.argsort(values[order], kind="stable")]
    sizes = np.bincount(values)
    rank = np.arange(len(values)) - (np.cumsum(sizes) - sizes)[values[order]]
    test = np.empty(len(values), bool)
    test[order] = rank < sizes[values[order]] // 2
    return test


def _roc_auc(scores, classes, values):
    """The mean over the classes that occur of the area under the ROC curve of each against all others.

    It is the probability that a point of the class has a higher score than another point, where equal ones count half.
    """
    from scipy.stats import rankdata

    own = values[:, np.newaxis] == classes  # [N,K]
    count = own.sum(0)
    scored = (count > 0) & (count < len(values))
    wins = (rankdata(scores, axis=0) * own).sum(0) - count * (count + 1) / 2
    return float((wins[scored] / (count * (len(values) - count))[scored]).mean())


def udr(models, rng):
    """The score of each model; it draws nothing."""
    return [
        np.median([_agreement(_lasso(other, own)) for number, other in enumerate(models.codes) if number != this])
        for this, own in enumerate(models.codes)
    ]


def _lasso(x, y):
    """The absolute coefficients [A,B] of each latent of x [N,A] in the Lasso that predicts each of y [N,B]."""
    from sklearn.linear_model import Lasso

    if not (x.shape[1] and y.shape[1]):
        return np.zeros([x.shape[1], y.shape[1]])
    x, y = ((z - z.mean(0)) / np.where(z.std(0) > 0, z.std(0), 1) for z in (x, y))
    coefficients = _fit(Lasso(alpha=PENALTY, max_iter=ITERATIONS), x, y).coef_  # [B,A], or [A] if B = 1
    return np.abs(coefficients).reshape(y.shape[1], x.shape[1]).T


def _agreement(strength):
    """The UDR of two models from R [A,B]."""
    if not strength.any():
        return 0.0
    total = 0.0
    for axis in (0, 1):
        sums, best = strength.sum(axis), strength.max(axis)
        total += (best[sums > 0] ** 2 / sums[sums > 0]).sum()
    return float(total / sum(strength.shape))


def _logistic_regression(x, y):
    from sklearn.linear_model import LogisticRegression

    return _fit(LogisticRegression(max_iter=ITERATIONS), x, y)


def _fit(model, x, y):
    """The fitted model. One that has not converged is scored as it is: the step limit is part of its definition."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)
