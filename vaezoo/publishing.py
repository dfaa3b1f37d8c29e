"""A run as a preset: its weights rounded, measured anew, with a card; and a preset onto a hub."""

import json
import shlex
import tempfile
from pathlib import Path

from vaezoo import hubs
from vaezoo.atomic import plain_errors
from vaezoo.config import load_recipe
from vaezoo.data.dataset import DRAWN
from vaezoo.errors import VaezooError, unknown
from vaezoo.presets import CARD, FILES, KINDS, Preset, open_run, write_files, write_metadata
from vaezoo.recipe_files import recipe_names
from vaezoo.runs import Environment
from vaezoo.training.fit import EVALUATION_BATCH

NOT_THE_MODEL = ("status", "reason", "device", "strategy", "sketch")  # of environment.json
MADE_WITH = ("vaezoo", "keras", "tensorflow")
LICENCES = {
    "mnist": "Yann LeCun and Corinna Cortes, CC BY-SA 3.0",
    **dict.fromkeys(DRAWN, "drawn by vaezoo itself; nobody else's pictures"),
}


def make_preset(run, to, weights="float16", licence=None) -> Preset:
    """Make a preset of a run. Its test metrics are measured with the rounded weights.

    Args:
        run: a run directory, whose data are on this machine.
        to: the folder to write, which must not exist.
        weights: how they are stored: "float16" or "int8", which takes half the space.
        licence: whose the data are and what their licence is, for the card; None for what is known of the data of the
            zoo.

    Returns:
        The `Preset`.

    Raises:
        VaezooError: for a folder that exists or cannot be written, or a run that is broken or whose data are gone.
            Nothing is written then.
    """
    to = Path(to)
    if weights not in KINDS:
        raise unknown("kind of weights", weights, KINDS)
    if to.exists() or to.is_symlink():
        raise VaezooError(f"'{to}' exists, and a preset is never overwritten; give another to=, or remove it")
    run = open_run(run)
    data, steps = run.data, int(run.model.optimizer.iterations)
    environment = {name: value for name, value in run.environment.items() if name in Environment.__annotations__}
    environment = {name: value for name, value in environment.items() if name not in NOT_THE_MODEL}
    with plain_errors(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=".writing.") as temporary:
            folder = Path(temporary) / to.name
            folder.mkdir()
            write_files(folder, run, weights)
            write_metadata(folder, weights, steps, {}, environment)
            # Read back, so that what is measured is what a reader gets.
            test = Preset(folder).model.evaluate(
                data.test.batches(EVALUATION_BATCH, **run.batches), verbose=0, return_dict=True
            )
            test = {name: float(value) for name, value in test.items()}
            write_metadata(folder, weights, steps, {**test, "images": len(data.test)}, environment)
            (folder / CARD).write_text(card(Preset(folder), run.test, licence), encoding="utf-8")
            folder.rename(to)
    return Preset(to)


def push(run, address, weights="float16", licence=None) -> None:
    """Upload a preset to a hub; of a run, a preset is made first.

    Args:
        run: a run directory or a preset.
        address: "hf://USER/MODEL" or "kaggle://USER/MODEL/FRAMEWORK/VARIATION".
        weights: as in `make_preset`; for a run.
        licence: as in `make_preset`; for a run.

    Raises:
        VaezooError: as `make_preset`, or if nothing can be uploaded there.
    """
    hubs.check_address(address)  # before the work that would be in vain without it
    found = open_run(run)
    if isinstance(found, Preset):
        return hubs.upload(found.folder, address, FILES)
    with tempfile.TemporaryDirectory() as temporary:
        made = make_preset(run, Path(temporary) / "preset", weights, licence)
        hubs.upload(made.folder, address, FILES)


def card(preset, before, licence=None) -> str:
    """The model card: what the model is, its figures, the command that made it, its data and their licence.

    Args:
        preset: the `Preset`.
        before: the test metrics of the run, whose weights are not rounded.
        licence: as in `make_preset`.
    """
    recipe, spec, test, environment = preset.recipe, preset.model.spec, preset.test, preset.environment
    name = Path(recipe.data.name).name
    counts = ", ".join(f"{count:,} {split}" for split, count in environment.get("images", {}).items())
    licence = licence or LICENCES.get(recipe.data.name, "not stated; ask whoever made the data")
    made_with = ", ".join(f"{key} {environment[key]}" for key in MADE_WITH if key in environment)
    shown = [key for key in recipe.model.objective.shown if key in test]
    figures = "\n".join(f"| {key} | {test[key]:.2f} | {_before(before, key)} |" for key in shown)
    classes = environment.get("class_names") if spec.conditional else None
    sentences = [
        f"{recipe.summary}." * bool(recipe.summary),
        f"Source: {recipe.paper}." * bool(recipe.paper),
        f"Classes of its label: {', '.join(classes)}." if classes else "",
    ]
    return f"""---
library_name: vaezoo
tags: [variational-autoencoder, vaezoo, keras]
---

# {recipe.name} on {name}

{" ".join(filter(None, sentences))}

    model = vaezoo.load("{recipe.name}/{name}")    # or this folder, or its address on a hub
    images = model.sample(16)

| on the {int(test["images"]):,} test examples, nats each | this preset | before its weights were rounded |
|-|-|-|
{figures}

- Parameters: {recipe.parameters:,}; weights stored as {preset.metadata["weights"]}; {recipe.model.latent_dim} latents.
- Examples: {spec}; data: {name}, {counts}, binarize={recipe.data.binarize}.
- Data and their licence: {licence}.
- Made with {made_with}:

{_command(recipe)}

The ELBO is a lower bound of log p(x) for examples of these data alone: other pictures are outside of what the model has
seen. `config.json` holds every setting.
"""


def _before(metrics, key):
    return f"{metrics[key]:.2f}" if key in metrics else "–"


def _command(recipe):
    """The command that trains the recipe, indented; its differences from the zoo's recipe of that name."""
    if recipe.name not in recipe_names():
        return "    vaezoo train RECIPE.yaml    # with the recipe in config.json"
    own, zoo = (_settings(each) for each in (recipe, load_recipe(recipe.name)))
    different = {key: value for key, value in own.items() if zoo.get(key) != value}
    command = ["vaezoo", "train", recipe.name]
    if (data := different.pop("data.name", None)) is not None:
        command += ["--data", data]
    for key, value in different.items():
        command += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return f"    {shlex.join(command)}"


def _settings(recipe):
    """Dotted key → value."""
    content, sections = recipe.model_dump(mode="json"), ("model", "data", "training")
    return {f"{section}.{key}": value for section in sections for key, value in content[section].items()}
