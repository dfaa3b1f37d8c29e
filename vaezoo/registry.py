"""Names for the replaceable parts of a VAE: one small registry for each kind."""

from collections.abc import Callable
from typing import Any

from vaezoo.errors import unknown


class Registry:
    """A mapping from a name to the class or function that makes a part.

    Args:
        kind: what the names name, for error messages: "encoder", "likelihood", ...
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._factories: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate a class or function so that `registry[name]` finds it. A name is given once."""

        def decorate(factory):
            if name in self._factories:
                raise ValueError(f"the {self.kind} '{name}' is registered twice")
            self._factories[name] = factory
            return factory

        return decorate

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """The factory of that name; a VaezooError with the nearest name where there is none."""
        if name not in self._factories:
            raise unknown(self.kind, name, self._factories)
        return self._factories[name]

    def names(self) -> tuple[str, ...]:
        """Every registered name, in the order of registration."""
        return tuple(self._factories)


ENCODERS = Registry("encoder")
POSTERIORS = Registry("posterior")
PRIORS = Registry("prior")
DECODERS = Registry("decoder")
LIKELIHOODS = Registry("likelihood")
OBJECTIVES = Registry("objective")
