"""How many tokens of a sequence come back from its code."""

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
    model, x, found = encoded.model, encoded.x, {}
    common = np.bincount(x.ravel()).argmax()
    right = np.concatenate([shown == given for given, shown in encoded.reconstructions()])  # [N,T]
    changes = x != common
    with np.errstate(invalid="ignore"):
        found["changes"] = (right & changes).sum(1) / changes.sum(1)
    found |= {"tokens": right.mean(1), "perfect": right.all(1)}
    if model.likelihood.autoregressive:
        forced = []
        for given, code, label in encoded.codes():
            logits = model.decode(code, label).logits(given)
            forced.append((np.argmax(logits, axis=-1) == given).mean(1))
        found["teacher_forced"] = np.concatenate(forced)
    return {**found, "most_common": float((x == common).mean())}
