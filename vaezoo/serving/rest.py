"""The server's REST interface."""

import json
import math
import queue
import threading
import time
import urllib.parse
import urllib.request

import urllib3

from vaezoo.errors import VaezooError
from vaezoo.serving.failures import LARGEST_ANSWER, BusyError, ServingError, one_line

LARGEST_METADATA = 2**22  # bytes; those of a model of vaezoo take 10 KB
LARGEST_ERROR = 2**16  # bytes
LONGEST_NUMBER = 32  # characters of a number in JSON, with its comma and brackets
CHUNK = 2**16


class Rest:
    """The server's REST interface, described at https://www.tensorflow.org/tfx/serving/api_rest."""

    def __init__(self, url, model, version):
        self.server = url
        self.address = f"{url}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self.address += f"/versions/{version}"
        parts = urllib.parse.urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        direct = proxy is None or urllib.request.proxy_bypass(parts.hostname)
        self.pool = urllib3.PoolManager() if direct else _proxied(proxy)

    def signatures(self, timeout):
        """Signature → "inputs" or "outputs" → name → (type, shape)."""
        found = self._request("GET", f"{self.address}/metadata", None, timeout, LARGEST_METADATA)
        try:
            described = found["metadata"]["signature_def"]["signature_def"]
            return {
                name: {side: self._tensors(signature[side]) for side in ("inputs", "outputs")}
                for name, signature in described.items()
                if signature.get("inputs") and signature.get("outputs")  # no initializer of the server's own
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ServingError(f"{self.server} answered with metadata that describe no model") from None

    @staticmethod
    def _tensors(tensors):
        def shape(tensor):  # sizes are text in the JSON; a scalar has no "dim"
            return tuple(int(dim["size"]) for dim in tensor["tensor_shape"].get("dim", []))

        if not all(isinstance(tensor["dtype"], str) for tensor in tensors.values()):
            raise TypeError("the type of a tensor is no text")
        return {name: (tensor["dtype"], shape(tensor)) for name, tensor in tensors.items()}

    def predict(self, signature, arrays, outputs, timeout):
        """Arrays by name → what the server answers for the `outputs`, by name."""
        columns = {name: array.tolist() for name, array in arrays.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        rows = len(next(iter(arrays.values())))
        numbers = sum(rows * math.prod(size for size in shape if size > 0) for _, shape in outputs.values())
        most = min(CHUNK + LONGEST_NUMBER * numbers, LARGEST_ANSWER)
        found = self._request("POST", f"{self.address}:predict", body, timeout, most)
        found = found.get("outputs") if isinstance(found, dict) else None
        return {next(iter(outputs)): found} if len(outputs) == 1 and not isinstance(found, dict) else found

    def _request(self, method, address, body, timeout, most):
        """The JSON that the server answers with, of at most so many bytes, within so many seconds."""
        try:
            content = _in_time(lambda: self._answer(method, address, body, time.monotonic() + timeout, most), timeout)
            return json.loads(content)
        except ServingError:
            raise
        except (urllib3.exceptions.HTTPError, OSError) as error:
            late = TimeoutError, urllib3.exceptions.TimeoutError
            refused = urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProtocolError, ConnectionError
            if isinstance(error, late) and not isinstance(error, refused):
                raise ServingError(f"{self.server} did not answer in time; give a longer timeout") from None
            passing = isinstance(error, refused) and not isinstance(error, urllib3.exceptions.NameResolutionError)
            kind = BusyError if passing else ServingError
            raise kind(f"{self.server} cannot be reached: {one_line(error)}") from None
        except (ValueError, RecursionError) as error:
            raise ServingError(f"{self.server} answered with something that is not JSON: {one_line(error)}") from None

    def _answer(self, method, address, body, deadline, most):
        headers = {"Content-Type": "application/json"}
        seconds = max(deadline - time.monotonic(), 1e-3)
        with self.pool.request(
            method, address, body=body, headers=headers, timeout=seconds, retries=False, redirect=False,
            preload_content=False, decode_content=False,
        ) as response:  # fmt: skip
            # Read to its end, the response gives its connection back; otherwise leaving this block closes both.
            if response.status == 200:
                return self._read(response, deadline, most)
            if 300 <= response.status < 400:
                raise ServingError(f"{self.server} answered with a redirect, which is not followed")
            text = self._read(response, deadline, LARGEST_ERROR).decode(errors="replace")
            kind = BusyError if response.status in (429, 502, 503, 504) else ServingError
            raise kind(f"{self.server} answered {response.status}: {_error_text(text) or response.reason}")

    def _read(self, response, deadline, most):
        chunks, size = [], 0
        while chunk := response.read1(CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise ServingError(f"{self.server} answered with more than {most:,} bytes, the most that are read")
            if time.monotonic() > deadline:
                raise TimeoutError
        return b"".join(chunks)

    def close(self):
        """Close the connections."""
        self.pool.clear()


def _proxied(proxy):
    """A pool of connections through a proxy, whose address may lack the scheme, as for other programs."""
    try:
        return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}")
    except urllib3.exceptions.HTTPError as error:
        raise VaezooError(
            f"the proxy of this environment, '{proxy}', cannot be used: {one_line(error)}; give an http:// or https:// "
            "one, or name the server in no_proxy"
        ) from None


def _in_time(function, seconds):
    """The result of a function, or a TimeoutError: a server that sends a byte now and then meets every other limit."""
    results = queue.SimpleQueue()

    def work():
        try:
            results.put((function(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result


def _error_text(text):
    """The server's message: the "error" of its JSON, or its text."""
    try:
        return one_line(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return one_line(text) if text.strip() else ""
