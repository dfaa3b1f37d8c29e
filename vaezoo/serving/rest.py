"""The server's REST interface; it needs only the standard library."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

from vaezoo.serving.failures import BusyError, ServingError, one_line


class Rest:
    """The server's REST interface, described at https://www.tensorflow.org/tfx/serving/api_rest."""

    def __init__(self, url, model, version):
        self.server = url
        self.address = f"{url}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self.address += f"/versions/{int(version)}"

    def signatures(self, timeout):
        """Signature → "inputs" or "outputs" → name → (type, shape)."""
        found = self._request(f"{self.address}/metadata", None, timeout)
        described = found["metadata"]["signature_def"]["signature_def"]
        return {
            name: {side: self._tensors(signature[side]) for side in ("inputs", "outputs")}
            for name, signature in described.items()
            if not name.startswith("__")
        }

    @staticmethod
    def _tensors(tensors):
        def shape(tensor):  # sizes are text in the JSON; a scalar has no "dim"
            return tuple(int(dim["size"]) for dim in tensor["tensor_shape"].get("dim", []))

        return {name: (tensor["dtype"], shape(tensor)) for name, tensor in tensors.items()}

    def predict(self, signature, arrays, outputs, timeout):
        """Arrays by name → the arrays named in `outputs`."""
        columns = {name: array.tolist() for name, array in arrays.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        found = self._request(f"{self.address}:predict", body, timeout)["outputs"]
        return found if isinstance(found, dict) else {next(iter(outputs)): found}  # a single output has no name

    def _request(self, address, body, timeout):
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            kind = BusyError if error.code in (429, 502, 503, 504) else ServingError
            raise kind(f"{self.server} answered {error.code}: {_error_text(error)}") from None
        except (TimeoutError, urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise ServingError(f"{self.server} did not answer in time; give a longer timeout") from None
            kind = BusyError if isinstance(reason, ConnectionError | http.client.HTTPException) else ServingError
            raise kind(f"{self.server} cannot be reached: {one_line(reason)}") from None
        except ValueError as error:
            raise ServingError(f"{self.server} answered with something that is not JSON: {one_line(error)}") from None

    def close(self):
        """Do nothing: every request has its own connection."""


def _error_text(error):
    """The server's message: the "error" of its JSON, or its text."""
    with error:
        text = error.read().decode(errors="replace")
    try:
        return one_line(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return one_line(text or error.reason)
