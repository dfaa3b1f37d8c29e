"""What posteriors, priors, likelihoods and objectives have in common: a Keras layer whose keywords a section holds."""

import inspect

import keras
import numpy as np


class Part(keras.layers.Layer):
    """A Keras layer, so that its weights are saved with the model, that takes the keywords of its section.

    A subclass needs no constructor and no `get_config`: each keyword becomes an attribute, with the section's default
    where it is left out. The layer is float32 under every precision, since densities are computed with it.

    Raises:
        VaezooError: for a value that the section does not allow.
    """

    section = None  # a `sections.Part`; the registry sets it

    def __init__(self, **keywords):
        own = {name: keywords.pop(name) for name in self.section.keyword_names() if name in keywords}
        super().__init__(**{"dtype": "float32", **keywords})
        self.settings = self.section.checked(own)
        for name, value in self.settings.keywords().items():
            setattr(self, name, value)

    def get_config(self):
        """The keywords of the constructor."""
        return {**super().get_config(), **self.settings.model_dump(mode="json", exclude={"name"})}

    @classmethod
    def describe(cls, section):
        """Take keywords, documentation and capabilities from a section; let Keras files name the class."""
        keras.saving.register_keras_serializable("vaezoo")(cls)
        cls.section = section
        for name, value in section.capabilities().items():
            setattr(cls, name, value)
        if section.keyword_names():
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__)}\n\nArgs:\n{section.docstring()}"
        empty, keyword = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
        cls.__signature__ = inspect.Signature(
            [
                inspect.Parameter(name, keyword, default=section.defaults().get(name, empty))
                for name in section.keyword_names()
            ]
        )


def raw_scale(scale, smallest):
    """The number r with softplus(r) + smallest = scale, computed without overflow; of a scale or an array of them."""
    above = np.maximum(np.asarray(scale, "float64") - smallest, 1e-6)
    return above + np.log(-np.expm1(-above))
