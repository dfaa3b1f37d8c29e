"""Names for the replaceable parts of a VAE: one small registry for each kind."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from vaezoo import part_schema
from vaezoo.errors import unknown
from vaezoo.sections import Part as Section


class Registry:
    """A mapping from a name to the class or function that makes a part.

    Args:
        kind: the kind of part, a direct subclass of `sections.Part`.
    """

    def __init__(self, kind: type[Section]):
        self.kind = kind
        self._factories: dict[str, Callable[..., Any]] = {}

    def register(self, section: type[Section]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorate the class or function that does what a section describes; it takes its keywords from there.

        A class must be a `parts.Part`, and takes the section's capabilities too. A function gets the section's defaults
        for its keyword-only arguments. A name is registered once.
        """

        def decorate(factory):
            name = section.model_fields["name"].default
            if name in self._factories:
                raise ValueError(f"the {self.kind.kind} '{name}' is registered twice")
            if isinstance(factory, type):
                factory.describe(section)
            else:
                factory = _with_defaults(factory, section)
            self._factories[name] = factory
            return factory

        return decorate

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """The factory of that name; a VaezooError with the nearest name where there is none."""
        if name not in self._factories:
            raise unknown(self.kind.kind, name, self._factories)
        return self._factories[name]

    def create(self, section: Section, *arguments):
        """The part that a section of a recipe describes; `arguments` come before its keywords."""
        return self[section.name](*arguments, **section.keywords())

    def names(self) -> tuple[str, ...]:
        """Every registered name, in the order of registration."""
        return tuple(self._factories)


def _with_defaults(function, section):
    """The function with its keyword-only arguments checked, and filled in where they are left out."""
    own = inspect.signature(function)
    only = {name for name, parameter in own.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    if only != set(section.keyword_names()):
        raise ValueError(f"'{function.__name__}' takes the keywords {sorted(only)}, and its section has others")

    @functools.wraps(function)
    def create(*arguments, **keywords):
        others = {name: keywords.pop(name) for name in own.parameters.keys() - only if name in keywords}
        return function(*arguments, **others, **section.checked(keywords).keywords())

    create.__signature__ = own.replace(
        parameters=[
            parameter.replace(default=section.defaults().get(name, parameter.default)) if name in only else parameter
            for name, parameter in own.parameters.items()
        ]
    )
    create.__doc__ = f"{inspect.cleandoc(function.__doc__)}\n\nKeywords:\n{section.docstring()}"
    return create


ENCODERS = Registry(part_schema.Encoder)
POSTERIORS = Registry(part_schema.Posterior)
PRIORS = Registry(part_schema.Prior)
DECODERS = Registry(part_schema.Decoder)
LIKELIHOODS = Registry(part_schema.Likelihood)
OBJECTIVES = Registry(part_schema.Objective)
