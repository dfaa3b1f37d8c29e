"""How many tokens of a sequence come back from its code."""

import collections

import numpy as np


def accuracy(encoded):
    """The shares of tokens that are right in reconstructions, decoded from the means of q(z|x).

    Args:
        encoded: an `Encoded` of sequences.

    Returns:
        A dict of arrays with a value for each sequence [N]: "tokens", the share of right ones; "perfect", whether all
        are; "changes", the share of right ones where the token is not the most common one (in a melody: where a note
        begins or ends; NaN without such a place); and under an autoregressive likelihood "teacher_forced", the share of
        right ones given the true tokens before. Beside them "most_common", a number: the share of the most common
        token, which is what a model gets that gives nothing else.
    """
    model, common = encoded.model, np.bincount(encoded.x.ravel()).argmax()
    found = collections.defaultdict(list)
    for x, code, label in encoded.codes():
        right, changes = np.asarray(model.examples(code, label)) == x, x != common  # [B,T]
        found["tokens"].append(right.mean(1))
        found["perfect"].append(right.all(1))
        with np.errstate(invalid="ignore"):
            found["changes"].append((right & changes).sum(1) / changes.sum(1))
        if model.likelihood.autoregressive:
            logits = model.decode(code, label).logits(x)
            found["teacher_forced"].append((np.argmax(logits, axis=-1) == x).mean(1))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {**joined, "most_common": float((encoded.x == common).mean())}
