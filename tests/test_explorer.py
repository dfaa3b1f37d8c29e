"""The explorer's page: what it holds, what no name in it can do, and how a bad request is refused."""

import base64
import hashlib
import html.parser
import io
import json
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from vaezoo import latent_space
from vaezoo.cli import main
from vaezoo.errors import VaezooError
from vaezoo.explorer import content, pages, runtime
from vaezoo.explorer.packing import packed
from vaezoo.runs import Run

PAGE_TESTS = Path(__file__).parent / "page"
FAKE = runtime.Runtime("var ModuleFactory;", b"\0asm" + bytes(100))


@pytest.fixture(scope="module")
def run(tiny_run):
    return Run(tiny_run)


@pytest.fixture(scope="module")
def found(run):
    """The content of a convolutional run on 8×8 bars, D = 3, with the row of a bar as its class."""
    return content.content_of(run)


class Elements(html.parser.HTMLParser):
    """The elements of a page: (tag, attributes, text)."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.all, self.inside = [], False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.all.append([tag, dict(attrs), ""])
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.all[-1][2] += data

    def of(self, tag, **attributes):
        return [each for each in self.all if each[0] == tag and attributes.items() <= each[1].items()]

    @property
    def data(self):
        ((_, _, text),) = self.of("script", id="data")
        return json.loads(text)


def unpacked(text, size, width):
    """The reverse of `packed`, by way of one large number."""
    number = 0
    for character in text:
        number = number << 15 | ord(character) - 0x3400
    squeezed = (number << 8 >> (15 * len(text)) % 8).to_bytes(len(text) * 15 // 8 + 1, "big")[:size]
    apart = np.frombuffer(zlib.decompress(squeezed, 31), np.uint8)
    return apart.reshape(width, -1).T.tobytes()


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("length", [4, 8, 60, 1000])
def test_packing_is_reversible(width, length):
    content = np.random.default_rng(length).integers(0, 256, length, "uint8").tobytes()
    text, size = packed(content, width)
    assert unpacked(text, size, width) == content
    assert all(0x3400 <= ord(character) < 0x3400 + 2**15 for character in text)


def test_half_precision_weights_need_less_than_base64():
    weights = np.random.default_rng(0).standard_normal(50_000).astype("float16").tobytes()
    text, _ = packed(weights, 2)
    assert len(text.encode("utf-16-le")) < 0.95 * len(weights)  # 4 / 3 in base64
    assert len(text) < len(packed(weights, 1)[0])


# The content


@pytest.mark.slow
def test_the_points_are_the_codes_in_the_plane(run, found):
    plane, points = found.data["plane"], np.array(found.data["points"])
    codes, labels = latent_space.of_run.embedding_of_test(run, len(points))
    wanted = (codes - plane["origin"]) @ np.transpose(plane["directions"])
    np.testing.assert_allclose(points, wanted, atol=2e-4 * np.abs(wanted).max())
    assert found.data["colourings"][0]["values"] == labels.tolist()
    inside = np.abs(points - plane["centre"]) <= plane["half"]
    assert inside.all(1).mean() > 0.95


def test_the_examples_are_of_all_classes_and_have_their_codes(run, found):
    labels = found.data["exampleLabels"]
    assert set(labels[:8]) == set(range(8))
    images = found.arrays["examples"].astype("float32") / 255
    np.testing.assert_allclose(latent_space.embed(run.model, images), found.arrays["codes"], atol=1e-4)
    assert found.arrays["draws"].shape == (content.DRAWS, run.model.latent_dim)


@pytest.mark.slow
def test_the_networks_are_measured_and_half_precision_is_replaced_where_it_misses(run, found, monkeypatch):
    assert {name: network.precision for name, network in found.networks.items()} == {
        "decode": "float16",
        "encode": "float16",
    }
    assert all(0 < network.error <= content.LARGEST_ERROR for network in found.networks.values())
    monkeypatch.setattr(content, "LARGEST_ERROR", 1e-5)
    functions = content.Functions(run.model)
    network = content._network(functions, "decode", {"z": found.arrays["draws"], "label": None})
    assert network.precision == "float32"
    assert network.error < 1e-5 < found.networks["decode"].error


def test_without_an_encoder_there_is_no_canvas(run, found, monkeypatch):
    def network(functions, name, inputs):
        if name == "encode":
            raise VaezooError("no kernel")
        return found.networks[name]

    monkeypatch.setattr(content, "_network", network)
    other = content.content_of(run)
    assert other.notes == ["no canvas to draw on: no kernel"]
    assert other.data["pad"] is None
    assert set(other.networks) == {"decode"}


@pytest.mark.slow
def test_a_conditional_run_has_its_classes(conditional_run):
    found = content.content_of(Run(conditional_run))
    assert found.data["classes"] == [str(row) for row in range(8)]
    assert found.networks["encode"].error <= content.LARGEST_ERROR


def test_where_the_ink_is():
    images = np.zeros((3, 10, 20, 1), "float32")
    images[0, 2:8, 5:10] = images[1, 2:8, 5:10] = 1
    assert content._pad(images, "none") == {"paper": 0.0, "box": [[0.2, 0.8], [0.25, 0.5]], "threshold": False}
    assert content._pad(1 - images, "dynamic") == {"paper": 1.0, "box": [[0.2, 0.8], [0.25, 0.5]], "threshold": True}
    assert content._pad(np.zeros((2, 4, 4, 1), "float32"), "none")["box"] == [[0, 1], [0, 1]]


def test_one_latent_has_a_plane_too():
    plane, points = content._plane(np.linspace(-1, 1, 9)[:, None])
    assert points.shape == (9, 2)
    assert plane.directions.shape == (1, 2)
    assert len(set(points[:, 1])) == 9


def test_examples_take_turns():
    assert content._balanced(np.array([1, 1, 1, 0, 2, 0]), 6).tolist() == [3, 0, 4, 5, 1, 2]
    assert content._balanced(None, 5).tolist() == [0, 1, 2, 3, 4]
    assert len(content._balanced(np.zeros(999, int), 999)) == content.EXAMPLES


# The page


HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&lt;$style'


def hostile(found):
    """The content with a hostile text wherever a run has one."""
    texts = {"model": HOSTILE, "set": HOSTILE, "summary": HOSTILE, "run": HOSTILE, "exampleClasses": [HOSTILE] * 8}
    colourings = [{"name": HOSTILE, "names": [HOSTILE] * 8, "values": found.data["colourings"][0]["values"]}]
    data = {**found.data, **texts, "colourings": colourings, "classes": [HOSTILE] * 8}
    return content.Content(data, found.arrays, found.networks)


def test_a_hostile_name_adds_no_element(found):
    plain, page = Elements(pages.page_of(found, FAKE)), Elements(pages.page_of(hostile(found), FAKE))
    assert [each[0] for each in page.all] == [each[0] for each in plain.all]
    assert page.data["run"] == HOSTILE
    assert page.data["colourings"][0]["names"] == [HOSTILE] * 8
    ((_, _, title),) = page.of("title")
    assert title == f"{HOSTILE} on {HOSTILE}"


def test_the_policy_allows_the_scripts_of_the_page_by_checksum_and_no_address(found):
    page = Elements(pages.page_of(hostile(found), FAKE))
    ((_, meta, _),) = page.of("meta", **{"http-equiv": "Content-Security-Policy"})
    policy = dict(part.strip().split(" ", 1) for part in meta["content"].split(";"))
    assert policy["default-src"] == "'none'"
    sources = {source for value in policy.values() for source in value.split()}
    assert all(source[0] == "'" or source == "data:" for source in sources)
    assert not {"'unsafe-inline'", "'unsafe-eval'", "'self'"} & sources

    def checksum(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    ((_, _, script),), ((_, _, style),) = page.of("script", type="module"), page.of("style")
    wanted = {checksum(script), checksum(FAKE.script), "'wasm-unsafe-eval'"}
    assert set(policy["script-src"].split()) == wanted
    assert policy["style-src"] == checksum(style)
    assert {each[1]["type"] for each in page.of("script")} == {
        "application/json",
        "application/octet-stream",
        "module",
    }
    links = [value for _, attributes, _ in page.all for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]


def test_the_page_holds_everything_once(found):
    page = Elements(pages.page_of(found, FAKE))
    blobs = {each[1]["id"].removeprefix("packed-"): each for each in page.of("script", type="application/octet-stream")}
    assert set(blobs) == {"loader", "wasm", "decode", "encode", "codes", "examples", "draws"}
    width = page.data["widths"]["decode"]
    _, attributes, text = blobs["decode"]
    assert unpacked(text, int(attributes["data-size"]), width)[: len(found.networks["decode"].content)] == (
        found.networks["decode"].content
    )
    ids = [each[1]["id"] for each in page.all if "id" in each[1]]
    assert len(ids) == len(set(ids))


def test_the_modules_join_into_one(tmp_path):
    bundle = pages.bundle()
    assert "\nimport " not in bundle
    assert "\nexport " not in bundle
    for name in pages.MODULES:  # a module stands after those that it imports
        above = pages.MODULES[: pages.MODULES.index(name)]
        imported = [
            line.split("./")[1].split(".mjs")[0] for line in pages.read(f"{name}.mjs").splitlines() if "./" in line
        ]
        assert set(imported) <= set(above), name
    if shutil.which("node"):
        (tmp_path / "bundle.mjs").write_text(bundle)  # a name that stands in two modules is an error
        subprocess.run(["node", "--check", tmp_path / "bundle.mjs"], check=True)


def test_the_modules_of_the_page():
    if not shutil.which("node"):
        pytest.skip("no node to run the tests of the page's modules")
    done = subprocess.run(["node", "--test", PAGE_TESTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


# Bad requests


def refused(capsys, *arguments):
    assert main(["explore", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_vectors_are_refused(capsys, vector_run, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "litert_js", lambda archive: FAKE)
    line = refused(capsys, vector_run, "--out", tmp_path / "page.html")
    assert line == "vaezoo: the explorer shows images and melodies, and these examples are vectors of 6 numbers"
    assert not list(tmp_path.iterdir())


def test_a_bad_place_is_refused_before_the_work(capsys, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "content_of", None)
    assert "--out must end in .html" in refused(capsys, tiny_run, "--out", tmp_path / "page.png")
    assert "there is no folder" in refused(capsys, tiny_run, "--out", tmp_path / "none" / "page.html")


def test_a_page_is_written_beside_the_run(capsys, tiny_run, found, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "litert_js", lambda archive: FAKE)
    monkeypatch.setattr(pages, "content_of", lambda run: found)
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    assert main(["explore", str(copy)]) == 0
    assert "float16 weights" in capsys.readouterr().out
    raw = (copy / pages.NAME).read_bytes()
    assert raw[:2] == b"\xff\xfe"  # the byte order mark
    assert Elements(raw.decode("utf-16")).data["run"] == tiny_run.name


# LiteRT.js


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive like that of npm, whose checksums are the expected ones, and an empty cache."""
    monkeypatch.setattr(runtime, "cache_folder", lambda: tmp_path / "cache")
    contents = {name: name.encode() * 20 for name in runtime.FILES}
    monkeypatch.setattr(runtime, "FILES", {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()})
    return write_archive(tmp_path / runtime.ARCHIVE, contents)


def write_archive(path, contents):
    with tarfile.open(path, "w:gz") as tar:
        for name, each in contents.items():
            entry = tarfile.TarInfo(f"package/wasm/{name}")
            entry.size = len(each)
            tar.addfile(entry, io.BytesIO(each))
    return path


def no_network(command, **_):
    raise subprocess.CalledProcessError(1, command, stderr="npm error: no route\n")


def test_the_runtime_is_kept(archive, monkeypatch):
    first = runtime.litert_js(archive)
    monkeypatch.setattr(runtime.subprocess, "run", no_network)
    assert runtime.litert_js() == first
    assert first.wasm == b"litert_wasm_compat_internal.wasm" * 20


def test_a_broken_file_in_the_cache_is_not_used(archive, monkeypatch):
    runtime.litert_js(archive)
    (path,) = (runtime.cache_folder()).glob("*/*.wasm")
    path.write_bytes(b"other")
    monkeypatch.setattr(runtime.subprocess, "run", no_network)
    with pytest.raises(VaezooError, match=r"cannot be fetched .*no route.*npm pack.*runtime="):
        runtime.litert_js()


def test_the_runtime_is_downloaded_once(archive, monkeypatch, capsys):
    def npm(command, **_):
        assert command[1:3] == ["pack", f"@litertjs/core@{runtime.VERSION}"]
        shutil.copyfile(archive, Path(command[-1]) / runtime.ARCHIVE)

    monkeypatch.setattr(runtime.subprocess, "run", npm)
    assert runtime.litert_js().script.startswith("litert_wasm")
    assert "fetching LiteRT.js" in capsys.readouterr().err
    monkeypatch.setattr(runtime.subprocess, "run", no_network)
    assert runtime.litert_js().script.startswith("litert_wasm")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (subprocess.TimeoutExpired("npm", 120, stderr=b"npm warn: slow\n"), "npm warn: slow"),
        (subprocess.CalledProcessError(1, "npm", stderr=" \n"), "non-zero exit status 1"),
        (FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
    ],
)
def test_every_failure_of_npm_is_one_line(failure, said, archive, monkeypatch):
    def npm(*_, **__):
        raise failure

    monkeypatch.setattr(runtime.subprocess, "run", npm)
    with pytest.raises(VaezooError, match=rf"cannot be fetched \(.*{said}.*\); on a machine with npm"):
        runtime.litert_js()


@pytest.mark.parametrize("broken", ["empty", "missing", "other", "damaged", "folder", "absent"])
def test_another_archive_is_refused(archive, broken, tmp_path):
    path = tmp_path / "broken.tgz"
    contents = {name: name.encode() * 20 for name in runtime.FILES}
    if broken == "empty":
        path.write_bytes(b"")
    elif broken == "folder":
        path.mkdir()
    elif broken == "missing":
        write_archive(path, dict(list(contents.items())[:1]))
    elif broken == "other":
        write_archive(path, dict.fromkeys(contents, b"other"))
    elif broken == "damaged":
        path.write_bytes(archive.read_bytes()[:40] + bytes(40))
    with pytest.raises(VaezooError, match=r"broken\.tgz"):
        runtime.litert_js(path)
    assert not (tmp_path / "cache").exists()
