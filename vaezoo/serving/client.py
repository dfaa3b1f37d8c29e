"""The client: what a call takes and gives, checked against what the server says of the model."""

import random
import time
import urllib.parse

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.serving.failures import BusyError, ServingError
from vaezoo.serving.grpc import Grpc
from vaezoo.serving.rest import Rest

TYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32}
FIRST_PAUSE = 0.1  # seconds before the first retry; each further one waits twice as long


class DecoderClient:
    """A client of TensorFlow Serving for a model that `vaezoo export` wrote.

    Every call is a pure function of its inputs, so one that met a closed port or a full queue is tried again.

    Args:
        url: http://HOST:8501 or https://... for REST, grpc://HOST:8500 for gRPC.
        model: the name of the model at the server.
        version: which version; by default the server's newest.
        timeout: seconds for a call with all its retries, more than 0.
        retries: how many times a call is tried again, at least 0.

    Raises:
        VaezooError: for arguments that cannot be, or gRPC without its package.
    """

    def __init__(self, url, model="conv_vae", version=None, timeout=10.0, retries=3):
        scheme = urllib.parse.urlsplit(url)
        if scheme.scheme not in ("http", "https", "grpc") or not scheme.netloc:
            raise VaezooError(f"the address '{url}' must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT")
        if not timeout > 0 or retries < 0:
            raise VaezooError(f"timeout must be above 0 and retries at least 0, not {timeout} and {retries}")
        self.timeout, self.retries = timeout, retries
        transport = Grpc if scheme.scheme == "grpc" else Rest
        self._transport = transport(url.rstrip("/"), model, version)
        self._signatures = None

    @property
    def signatures(self):
        """What the model offers: signature → "inputs" or "outputs" → name → (type, shape with -1 for B)."""
        if self._signatures is None:
            self._signatures = self._patiently(self._transport.signatures)
        return self._signatures

    def decode(self, z, label=None):
        """Codes z [B,D] (and labels [B], or one for all) → images [B,H,W,C] float32 in [0, 1]."""
        return self.call("decode", z=z, label=label)["image"]

    def encode(self, image, label=None):
        """Images [B,H,W,C] in [0, 1] → the parameters of q(z|x) by name: "loc" [B,D], "scale" [B,D]."""
        return self.call("encode", image=image, label=label)

    def reconstruct(self, image, label=None):
        """Images [B,H,W,C] in [0, 1] → images [B,H,W,C]: the posterior's location, decoded."""
        return self.call("reconstruct", image=image, label=label)["image"]

    def sample(self, n, seed=0, label=None):
        """Draw from the prior: images [n,H,W,C] and their codes [n,D]; the same seed gives the same images."""
        seeds = np.stack([np.full(n, seed), np.arange(n)], axis=1)
        outputs = self.call("sample", seed=seeds, label=label)
        return outputs["image"], outputs["z"]

    def call(self, signature, **inputs):
        """Call a signature by name.

        Args:
            signature: one of `signatures`.
            inputs: arrays by name, all with the same first axis B; None is left out, a single label stands for all.

        Returns:
            Arrays by name.

        Raises:
            VaezooError: for an input that the model does not take; nothing is sent then.
            ServingError: if the server cannot be reached in time, or refuses.
        """
        if signature not in self.signatures:
            offered = ", ".join(sorted(self.signatures))
            raise VaezooError(f"the model has no signature '{signature}'; it has {offered}")
        spec = self.signatures[signature]
        arrays = _checked(spec["inputs"], {name: value for name, value in inputs.items() if value is not None})
        outputs = self._patiently(lambda timeout: self._transport.predict(signature, arrays, spec["outputs"], timeout))
        return {name: np.asarray(outputs[name], TYPES[dtype]) for name, (dtype, _) in spec["outputs"].items()}

    def close(self):
        """Close the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _patiently(self, request):
        """Make a request, again while the server is busy and there is time."""
        deadline = time.monotonic() + self.timeout
        for tried in range(self.retries + 1):
            try:
                return request(max(deadline - time.monotonic(), 1e-3))
            except BusyError as error:
                # Clients that were refused together must not come back together.
                pause = FIRST_PAUSE * 2**tried * random.uniform(0.5, 1.5)
                if tried == self.retries or time.monotonic() + pause >= deadline:
                    raise ServingError(f"{error} (tried {tried + 1} times)") from error
                time.sleep(pause)


def _checked(spec, given):
    """The inputs as arrays of the types and shapes that the signature takes."""
    for name in sorted(given.keys() ^ spec.keys()):
        if name in spec:
            raise VaezooError(f"'{name}' is missing: this model takes {', '.join(sorted(spec))}")
        raise VaezooError(f"this model takes no '{name}'; it takes {', '.join(sorted(spec))}")
    arrays = {name: _array(name, given[name], *spec[name]) for name in sorted(spec)}
    rows = {name: len(array) for name, array in arrays.items() if array.ndim}
    for name in [name for name, array in arrays.items() if not array.ndim]:  # one label for all rows
        arrays[name] = np.full(max(rows.values()), arrays[name])
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{count} of '{name}'" for name, count in rows.items())
        raise VaezooError(f"the inputs must have the same number of rows, not {counts}")
    return arrays


def _array(name, value, dtype, shape):
    """One input as an array of the model's type and shape."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise VaezooError(f"'{name}' is no array: {error}") from None
    wanted = TYPES.get(dtype)
    if wanted is None:
        raise VaezooError(f"the model takes '{name}' as {dtype}, which this client cannot send")
    if array.dtype.kind not in ("fiu" if wanted is np.float32 else "iu"):
        kind = "numbers" if wanted is np.float32 else "whole numbers"
        raise VaezooError(f"'{name}' must hold {kind}, and its type is {array.dtype}")
    single_label = array.ndim == 0 and len(shape) == 1
    fits = array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    if not single_label and (not fits or not len(array)):
        sizes = ", ".join("B" if size == -1 else str(size) for size in shape)
        raise VaezooError(f"'{name}' has the shape {list(array.shape)}, and the model takes [{sizes}] with B >= 1")
    with np.errstate(over="ignore"):  # what does not fit is reported below
        converted = array.astype(wanted)
    if wanted is np.int32 and not np.array_equal(converted, array):
        raise VaezooError(f"'{name}' holds numbers that do not fit 32 bits")
    if not np.isfinite(converted).all():
        raise VaezooError(f"'{name}' holds NaN, or numbers beyond float32")
    return converted
