"""The client: its inputs are checked against the signatures that the server describes."""

import numbers
import random
import time
import urllib.parse

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.serving.failures import BusyError, ServingError
from vaezoo.serving.grpc import Grpc
from vaezoo.serving.rest import Rest

TYPES = {"DT_FLOAT": np.float32, "DT_INT32": np.int32}
LONGEST_TIMEOUT = 10**6  # seconds
FIRST_PAUSE = 0.1  # seconds before the first retry; each further one waits twice as long


class DecoderClient:
    """A client of TensorFlow Serving for a model that `vaezoo export` wrote.

    Every call is a pure function of its inputs, so the client tries again after a closed port or a full queue. An
    example is an image [H,W,C] in [0, 1], a vector [F], or a sequence of tokens [T]: the signatures of the model say
    which.

    Args:
        url: http://HOST:8501 or https://... for REST, grpc://HOST:8500 for gRPC.
        model: the name of the model at the server.
        version: the version, an integer; by default the server's newest.
        timeout: seconds for a call with all its retries, more than 0.
        retries: how many times a call is tried again, an integer of at least 0.
        finite: refuse an answer with NaN or infinity.

    Raises:
        VaezooError: for an argument out of range, or gRPC without its package.
    """

    def __init__(self, url, model="conv_vae", version=None, timeout=10.0, retries=3, finite=True):
        scheme = _checked_scheme(url)
        if not 0 < timeout < LONGEST_TIMEOUT or not isinstance(retries, int) or retries < 0:
            raise VaezooError(
                f"timeout must be above 0 and below {LONGEST_TIMEOUT:,}, and retries an integer of at least 0, not "
                f"{timeout} and {retries}"
            )
        if version is not None and (not isinstance(version, numbers.Integral) or version < 0):
            raise VaezooError(f"version is {version!r}; give an integer of at least 0, or None for the server's newest")
        self.timeout, self.retries, self.finite = timeout, retries, finite
        transport = Grpc if scheme == "grpc" else Rest
        self._transport = transport(url.rstrip("/"), model, version)
        self._signatures = None

    @property
    def signatures(self):
        """The signatures of the model: name → "inputs" or "outputs" → tensor → (type, shape with -1 for B)."""
        if self._signatures is None:
            self._signatures = self._with_retries(self._transport.signatures)
        return self._signatures

    def decode(self, z, label=None):
        """Codes z [B,D] (and labels [B], or one for all) → the mean of p(x|z), float32.

        That is images [B,H,W,C] in [0, 1], vectors [B,F], or the probability of each token [B,T,V].
        """
        return self.call("decode", z=z, label=label)[self._example]

    def encode(self, image, label=None):
        """Images, or other examples [B,...] → the parameters of q(z|x) by name: "loc" [B,D], "scale" [B,D]."""
        return self.call("encode", **{self._example: image}, label=label)

    def reconstruct(self, image, label=None):
        """Images, or other examples [B,...] → the location of q(z|x), decoded as by `decode`."""
        return self.call("reconstruct", **{self._example: image}, label=label)[self._example]

    def sample(self, n, seed=0, label=None):
        """Draw n codes from the prior: their examples, as from `decode`, and the codes [n,D].

        The same seed gives the same codes.
        """
        seeds = np.stack([np.full(n, seed), np.arange(n)], axis=1)
        outputs = self.call("sample", seed=seeds, label=label)
        return outputs[self._example], outputs["z"]

    def score(self, image, label=None, seed=None):
        """Images, or other examples [B,...] → how untypical each is, of an export with a score.

        Args:
            image: the examples.
            label: classes [B], or one for all.
            seed: score one draw of the code of each example, a function of this integer; None for the code itself.

        Returns:
            By name: "score" [B], in nats, higher is less typical; "p_value" [B]; "anomaly" [B], 1 or 0.
        """
        if seed is None:
            return self.call("score", **{self._example: image}, label=label)
        seeds = np.stack([np.full(len(image), seed), np.arange(len(image))], axis=1)
        return self.call("score_drawn", **{self._example: image}, seed=seeds, label=label)

    @property
    def _example(self):
        """The name of the tensor of an example: "image", "vector" or "sequence"."""
        return next(iter(self.signatures.get("decode", {}).get("outputs", ())), "image")

    def call(self, signature, **inputs):
        """Call a signature by name.

        Args:
            signature: one of `signatures`.
            inputs: arrays by name, all with the same first axis B. An input that is None is left out; a single label
                is used for all rows.

        Returns:
            Arrays by name.

        Raises:
            VaezooError: for an input that the model does not take. Nothing is sent then.
            ServingError: if the server cannot be reached in time, or refuses the request.
        """
        if signature not in self.signatures:
            offered = ", ".join(sorted(self.signatures))
            raise VaezooError(f"the model has no signature '{signature}'; it has {offered}")
        spec = self.signatures[signature]
        arrays = _checked(spec["inputs"], {name: value for name, value in inputs.items() if value is not None})
        outputs = self._with_retries(
            lambda timeout: self._transport.predict(signature, arrays, spec["outputs"], timeout)
        )
        rows = len(next(iter(arrays.values())))
        return {name: self._output(outputs, name, rows, *described) for name, described in spec["outputs"].items()}

    def _output(self, outputs, name, rows, dtype, shape):
        """One output as an array of the type and shape that the signature says, with a row for each row sent."""
        if dtype not in TYPES:
            raise ServingError(f"the model answers '{name}' as {dtype}, which this client cannot read")
        try:
            with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which is refused below
                array = np.asarray(outputs[name], TYPES[dtype])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ServingError(f"the server answered without '{name}', or with something that is no array") from None
        wanted = (rows, *shape[1:])
        if array.shape != wanted:
            raise ServingError(f"the server answered '{name}' of shape {list(array.shape)}, not {list(wanted)}")
        if self.finite and not np.isfinite(array).all():
            raise ServingError(f"the server answered '{name}' with NaN or infinity; pass finite=False to take it")
        return array

    def close(self):
        """Close the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _with_retries(self, request):
        """Make a request; try again while the server is busy and there is time."""
        deadline = time.monotonic() + self.timeout
        for tried in range(self.retries + 1):
            try:
                return request(max(deadline - time.monotonic(), 1e-3))
            except BusyError as error:
                # Random, so that clients that were refused together do not all try again together.
                pause = FIRST_PAUSE * 2**tried * random.uniform(0.5, 1.5)
                if tried == self.retries or time.monotonic() + pause >= deadline:
                    raise ServingError(f"{error} (tried {tried + 1} times)") from error
                time.sleep(pause)


def _checked_scheme(url):
    """The scheme of an address; a VaezooError for one that is not allowed."""
    try:
        parts = urllib.parse.urlsplit(url)
        fits = parts.scheme in ("http", "https", "grpc") and parts.hostname and parts.port != 0
        secret = parts.username is not None
    except (ValueError, AttributeError, TypeError):
        fits = secret = False
    if secret:
        raise VaezooError("the address holds a name or a password, which this client does not send; leave it out")
    if not fits:
        raise VaezooError(f"the address '{url}' must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT")
    return parts.scheme


def _checked(spec, given):
    """The inputs as arrays of the signature's types and shapes."""
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
        raise VaezooError(f"'{name}' is not an array: {error}") from None
    wanted = TYPES.get(dtype)
    if wanted is None:
        raise VaezooError(f"the model takes '{name}' as {dtype}, which this client cannot send")
    if array.dtype.kind not in ("fiu" if wanted is np.float32 else "iu"):
        kind = "numbers" if wanted is np.float32 else "integers"
        raise VaezooError(f"'{name}' must hold {kind}, and its type is {array.dtype}")
    single_label = array.ndim == 0 and len(shape) == 1
    fits = array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    if not single_label and (not fits or not len(array)):
        sizes = ", ".join("B" if size == -1 else str(size) for size in shape)
        raise VaezooError(f"'{name}' has the shape {list(array.shape)}, and the model takes [{sizes}] with B >= 1")
    with np.errstate(over="ignore"):  # reported below
        converted = array.astype(wanted)
    if wanted is np.int32 and not np.array_equal(converted, array):
        raise VaezooError(f"'{name}' holds numbers that do not fit 32 bits")
    missing = np.isnan(array) if name == "vector" else False  # the row of a table may lack cells
    if not (np.isfinite(converted) | missing).all():
        raise VaezooError(f"'{name}' holds NaN, infinity, or numbers that do not fit float32")
    return converted
