"""LiteRT.js, the runtime inside the page: fetched once from npm, checked, and kept in the cache."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

from vaezoo.atomic import plain_errors, write_file
from vaezoo.cache import cache_folder
from vaezoo.errors import VaezooError, printable
from vaezoo.regular_files import broken, open_regular

VERSION = "2.5.3"
ARCHIVE = f"litertjs-core-{VERSION}.tgz"  # as `npm pack` names it
LARGEST = 2**26  # bytes of the archive, and of each file in it
SECONDS = 120  # for npm

# The build without relaxed SIMD: it runs in every browser of the last years, Safari included. File → SHA-256.
FILES = {
    "litert_wasm_compat_internal.js": "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    "litert_wasm_compat_internal.wasm": "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
}


class Runtime(NamedTuple):
    """LiteRT.js: its script, which defines `ModuleFactory`, and its WebAssembly."""

    script: str
    wasm: bytes


def litert_js(archive: str | Path | None = None) -> Runtime:
    """LiteRT.js from the cache; the first time from npm, or from an archive that `npm pack` wrote.

    Args:
        archive: the .tgz file of the package; None to download it where it is not in the cache.

    Returns:
        The `Runtime`.

    Raises:
        VaezooError: without a network, or for a file that is not that version.
    """
    folder = cache_folder() / f"litert-js-{VERSION}"
    if archive is not None or not all(_is_intact(folder / name) for name in FILES):
        content = _download() if archive is None else _read(archive)
        members = _members(content, archive or ARCHIVE)
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for name, member in members.items():
            write_file(folder / name, lambda path, member=member: path.write_bytes(member))
    script, wasm = ((folder / name).read_bytes() for name in FILES)
    return Runtime(script.decode("utf-8"), wasm)


def _is_intact(path):
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == FILES[path.name]


def _download():
    package, npm = f"@litertjs/core@{VERSION}", shutil.which("npm")
    print(f"vaezoo: fetching LiteRT.js {VERSION} (once) into {cache_folder()}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(
                [npm or "npm", "pack", package, "--silent", "--pack-destination", folder],
                check=True, capture_output=True, text=True, timeout=SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or ""
            said = said.decode(errors="replace") if isinstance(said, bytes) else said  # bytes, after a timeout
            reason = printable((said.strip() or str(error)).splitlines()[0])
            raise VaezooError(
                f"LiteRT.js cannot be fetched ({reason}); on a machine with npm, run `npm pack {package}` "
                f"and give {ARCHIVE} as runtime="
            ) from error
        return _read(Path(folder) / ARCHIVE)


def _read(archive):
    with broken(archive), open_regular(archive) as file:
        return file.read(LARGEST + 1)


def _members(content, source):
    """The FILES of an archive, each with the checksum that is expected."""
    members = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
            for name in FILES:
                members[name] = tar.extractfile(f"package/wasm/{name}").read(LARGEST)
    except (tarfile.TarError, KeyError, AttributeError, EOFError, OSError, zlib.error) as error:
        raise VaezooError(f"{source} is not an archive of @litertjs/core {VERSION}: {error}") from error
    for name, member in members.items():
        if hashlib.sha256(member).hexdigest() != FILES[name]:
            raise VaezooError(f"{name} in {source} has another checksum than that of @litertjs/core {VERSION}")
    return members
