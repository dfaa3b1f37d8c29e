"""Sections of a recipe, and parts: the keywords of every part, with their ranges, defaults and meaning.

A part is described once, by a light pydantic class here or in `part_schema`, and is registered with the class or
function that does the work (`registry`): that one takes its keywords, their defaults and its capabilities from here.
Nothing heavy is imported, so a bad recipe is refused before TensorFlow is loaded.
"""

import json
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, PlainValidator, SerializeAsAny, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from vaezoo.errors import VaezooError, unknown
from vaezoo.spec import AXES, Spec


class Section(BaseModel):
    """A frozen mapping that refuses unknown keys, wrong types, infinities and NaN."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            for key in content:
                if key not in cls.model_fields:
                    raise PydanticCustomError("unknown_key", "", {"key": _utf8(key), "allowed": list(cls.model_fields)})
        return content

    @classmethod
    def checked(cls, content: Mapping[str, Any]) -> Self:
        """The section of this content; a VaezooError of one line for what is not allowed."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise VaezooError(describe(error)) from None


class Part(Section):
    """A replaceable part of a model: its name, its keywords, and its capabilities as class attributes.

    A kind of part (encoder, prior, ...) is a direct subclass. Each part of the kind is a subclass of it whose field
    `name` is a `Literal`.
    """

    kind: ClassVar[str] = "part"
    examples: ClassVar[tuple[str, ...]] = tuple(AXES)  # the kinds of example that it is for
    parts: ClassVar[dict[str, type["Part"]]] = {}  # of this kind, by name

    @classmethod
    def __pydantic_init_subclass__(cls, **_):
        if Part in cls.__bases__:
            cls.parts = {}
        if "name" in cls.__annotations__:
            (name,) = get_args(cls.__annotations__["name"])
            if name in cls.parts:
                raise ValueError(f"the {cls.kind} '{name}' is described twice")
            cls.parts[name] = cls

    @classmethod
    def check_examples(cls, spec: Spec) -> None:
        """Raise a VaezooError if the part is not for such examples."""
        if spec.kind not in cls.examples:
            fitting = [name for name, part in cls.parts.items() if spec.kind in part.examples]
            name = cls.model_fields["name"].default
            raise VaezooError(
                f"the {cls.kind} '{name}' is for {' and '.join(f'{kind}s' for kind in cls.examples)}, not for {spec}; "
                f"set model.{cls.kind} to {' or '.join(fitting)}"
            )

    @classmethod
    def keyword_names(cls) -> list[str]:
        """The keywords of the constructor: every field but the name."""
        return [name for name in cls.model_fields if name != "name"]

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every keyword that has one."""
        fields = cls.model_fields
        return {name: fields[name].default for name in cls.keyword_names() if not fields[name].is_required()}

    @classmethod
    def described(cls) -> list[tuple[str, str]]:
        """Each keyword with its default, and its meaning with what is allowed."""
        properties = cls.model_json_schema()["properties"]
        lines = []
        for name in cls.keyword_names():
            has, allowed = properties[name], _allowed(properties[name])
            default = f" = {json.dumps(has['default'])}" if "default" in has else ""
            lines.append((name + default, has["description"] + allowed))
        return lines

    @classmethod
    def docstring(cls) -> str:
        """The keywords as the arguments of a docstring."""
        return "\n".join(f"    {keyword}: {meaning}." for keyword, meaning in cls.described())

    def keywords(self) -> dict[str, Any]:
        """The value of every keyword."""
        return {name: getattr(self, name) for name in self.keyword_names()}

    @classmethod
    def capabilities(cls) -> dict[str, Any]:
        """What the part declares that it can do: its public class attributes."""
        names = {name for base in cls.__mro__ for name in base.__dict__.get("__class_vars__", ())}
        names -= {"kind", "parts", "model_config"}
        return {name: getattr(cls, name) for name in sorted(names) if not name.startswith("_")}


def _allowed(schema: dict[str, Any]) -> str:
    """What the JSON schema of a key allows, in words."""
    if "enum" in schema:
        return f"; one of {', '.join(schema['enum'])}"
    numbers = schema.get("items", schema)
    low, high = numbers.get("minimum"), numbers.get("maximum")
    if low is None:
        return ""
    low, high = (f"{number:,.4f}".rstrip("0").rstrip(".") for number in (low, high))
    return f"; {'each ' if 'items' in schema else ''}from {low} to {high}"


def one_of(kind: type[Part]) -> Any:
    """The type of a key that holds a part of this kind; a bare string is short for a part with every default."""

    def choose(value: Any) -> Part:
        if isinstance(value, kind):
            return value
        content = {"name": value} if isinstance(value, str) else value
        if not isinstance(content, Mapping) or not isinstance(content.get("name"), str):
            raise PydanticCustomError("part_without_name", "")
        if content["name"] not in kind.parts:
            raise PydanticCustomError("unknown_part", "", {"name": _utf8(content["name"]), "allowed": list(kind.parts)})
        return kind.parts[content["name"]].model_validate(content)

    return Annotated[SerializeAsAny[kind], PlainValidator(choose)]


def describe(error: ValidationError) -> str:
    """The first complaint of pydantic's in the project's words: what was given, what is allowed."""
    complaint = error.errors(include_url=False)[0]
    path = _dotted(complaint["loc"])
    given, context = complaint["input"], complaint.get("ctx", {})
    match complaint["type"]:
        case "unknown_key":
            return str(unknown("key", _join(path, context["key"]), [_join(path, key) for key in context["allowed"]]))
        case "unknown_part":
            return str(unknown(path, context["name"], context["allowed"]))
        case "part_without_name":
            return f"'{path}' must be the name of a part, or hold it as 'name', not {shown(given)}"
        case "literal_error":
            return str(unknown(path, given, context["expected"].split("'")[1::2]))
        case "missing":
            return f"the key '{path}' is missing"
        case "value_error":
            return str(context["error"])
        case "json_invalid":
            return f"it is not JSON: {context['error']}"
    more = error.error_count() - 1
    message = complaint["msg"].removeprefix("Input ")
    subject = f"'{path}'" if path else "it"
    return f"{subject} {message}, not {shown(given)}" + (f" (and {more} more)" if more else "")


def shown(value: Any) -> str:
    """A value for a message."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write out an integer of more than 4,300 digits
        return "a number of thousands of digits"


def _utf8(value: Any) -> str:
    """Text for pydantic, which takes no lone half of a surrogate pair."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _dotted(loc: tuple[str | int, ...]) -> str:
    """The dotted key of a complaint. A step such as `<number>` is the tag of a union, not a key."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not step.startswith("<"):
            path = _join(path, step)
    return path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
