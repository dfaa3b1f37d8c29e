"""The page: a template, its style and its modules, the content of a run, and the runtime, in one file."""

import base64
import hashlib
import html
import importlib.resources
import json
import re
import string
from pathlib import Path
from typing import NamedTuple

from vaezoo.atomic import plain_errors, write_file
from vaezoo.errors import VaezooError
from vaezoo.explorer.content import Content, content_of
from vaezoo.explorer.packing import packed
from vaezoo.explorer.runtime import VERSION, Runtime, litert_js
from vaezoo.exporting.plan import Plan

NAME = "explorer.html"
FILES = importlib.resources.files("vaezoo.explorer") / "page"
# In this order, a module stands after those that it imports.
MODULES = ("packing", "litert", "plane", "colours", "music", "paint", "pad", "map", "main")


class Explored(NamedTuple):
    """A page that was written, and what it holds."""

    path: Path
    size: int
    content: Content


def explore(run, out=None, runtime=None) -> Explored:
    """Write the page of a run: its latent space, decoded in the browser.

    Args:
        run: a `Run` of images or melodies.
        out: the page, which ends in .html; by default `explorer.html` in the run directory.
        runtime: an archive of LiteRT.js; see `runtime.litert_js`.

    Returns:
        The `Explored`.

    Raises:
        VaezooError: for other examples, a network that LiteRT cannot run, LiteRT.js neither here nor on the network, or
            a file that cannot be written.
    """
    path = run.path / NAME if out is None else Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise VaezooError(f"cannot write a page '{path}'; out= must end in .html")
    if out is not None and not path.parent.is_dir():
        raise VaezooError(f"there is no folder '{path.parent}' for out=; make it first")
    Plan(formats=("litert",))  # the packages that it needs
    runner = litert_js(runtime)  # before the work that would be in vain without it
    content = content_of(run)
    page = page_of(content, runner).encode("utf-16")  # its byte order mark outranks what a server says
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, lambda temporary: temporary.write_bytes(page))
    return Explored(path, len(page), content)


def page_of(content: Content, runtime: Runtime) -> str:
    """The text of the page.

    Nothing in it can be run but the scripts of this package and of LiteRT.js, whatever the names in the run are: names
    stand in JSON, where no `<` is left, and the policy of the page allows scripts by their checksum alone. It allows no
    address, so that no request can leave the page.
    """
    style, script = read("style.css"), bundle()
    loader = _checksum(runtime.script)
    policy = (
        f"default-src 'none'; style-src {_checksum(style)}; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_checksum(script)} {loader} 'wasm-unsafe-eval'"
    )
    blobs = {"loader": packed(runtime.script.encode()), "wasm": packed(runtime.wasm)}
    blobs |= {name: packed(network.content, network.width) for name, network in content.networks.items()}
    blobs |= {name: packed(array.tobytes(), array.itemsize) for name, array in content.arrays.items()}
    widths = {name: network.width for name, network in content.networks.items()}
    widths |= {name: array.itemsize for name, array in content.arrays.items()}
    data = {**content.data, "runtime": VERSION, "widths": widths}
    return string.Template(read("page.html")).substitute(
        policy=html.escape(policy),
        title=html.escape(f"{content.data['model']} on {content.data['set']}"),
        style=style,
        script=script,
        data=as_json(data),
        blobs="\n".join(
            f'<script type="application/octet-stream" id="packed-{name}" data-size="{size}">{text}</script>'
            for name, (text, size) in blobs.items()
        ),
    )


def as_json(data) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def bundle() -> str:
    """The modules as one: without their imports, since what they import stands above them."""
    text = "\n".join(read(f"{name}.mjs") for name in MODULES)
    text = re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^export (?=(async )?(function|const|class|let) )", "", text, flags=re.MULTILINE)


def read(name) -> str:
    """A file of the page."""
    return (FILES / name).read_text(encoding="utf-8")


def _checksum(text):
    """What a Content-Security-Policy calls a script or a style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
