"""The explorer's page in a real browser: from disk, with the network off, against Keras."""

import contextlib
import shutil
import time

import numpy as np
import pytest
from test_explorer import HOSTILE, hostile

from vaezoo import latent_space
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.explorer import content, explore, pages, runtime
from vaezoo.runs import Run
from vaezoo.training import train

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60  # seconds until the page has answered
DRAWING = [(0.35, 0.25), (0.65, 0.25), (0.45, 0.5), (0.65, 0.75), (0.35, 0.75)]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium to open the page in")
    try:
        runtime.litert_js()
    except VaezooError as error:
        pytest.skip(str(error))
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def conv_run(mnist, tmp_path_factory):
    """conv_vae at its full size, after one epoch of MNIST."""
    recipe = load_recipe("conv_vae", {"data.name": "mnist", "training.epochs": 1})
    return train(recipe, tmp_path_factory.mktemp("conv") / "conv_vae", quiet=True).path


@contextlib.contextmanager
def opened(browser, path, **options):
    """The page, once it has decoded; at the end it must have asked for nothing and complained of nothing."""
    context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900}, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: wrong.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    answered(page, "globalThis.explorer")
    settled(page)
    yield page
    context.close()
    assert wrong == []


def answered(page, condition):
    """Wait until a condition of the page holds. Playwright's own waiting evaluates text, which the page forbids."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(f"Boolean({condition})"):
        alert = page.evaluate("document.getElementById('alert').textContent")
        assert not alert, alert
        assert time.monotonic() < end, f"the page did not come to {condition}"
        time.sleep(0.05)


def settled(page):
    answered(page, "explorer.state.decoded === explorer.state.shown")


def shown(page):
    """What the page shows: the code [D], the output of its decoder, and the bytes of the picture [H,W]."""
    z, output, painted = page.evaluate(
        """() => {
          const canvas = document.getElementById("picture");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [[...explorer.state.decoded], [...explorer.state.output], [...data].filter((_, i) => i % 4 === 0)];
        }"""
    )
    return np.array(z, "float32"), np.array(output), np.array(painted)


def at(page, selector, across, up):
    """The pixel at a share of an element."""
    box = page.locator(selector).bounding_box()
    return box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"]


def draw(page):
    page.locator("#pad").scroll_into_view_if_needed()
    first, *others = [at(page, "#pad", x, 1 - y) for x, y in DRAWING]
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=6)
    page.mouse.up()
    answered(page, "explorer.state.code")
    settled(page)


@pytest.mark.parametrize("name", ["conv_run", "conditional_run"])
def test_the_page_decodes_and_encodes_as_keras_does(name, browser, tmp_path, request):
    run = Run(request.getfixturevalue(name))
    model, label = run.model, 5 if run.model.spec.conditional else None
    done = explore(run, tmp_path / "page.html")
    plane, outputs, worst = done.content.data["plane"], [], 0
    with opened(browser, done.path) as page:
        if label is not None:
            page.locator("#labels button").nth(label).click()
        for across, up in ((0.5, 0.5), (0.2, 0.7), (0.85, 0.3), (0.35, 0.1)):
            page.mouse.move(*at(page, "#plane", across, up))
            settled(page)
            z, output, painted = shown(page)
            place = plane["centre"] + plane["half"] * (2 * np.array([across, up]) - 1)
            found = (z - plane["origin"]) @ np.transpose(plane["directions"])
            np.testing.assert_allclose(found, place, atol=0.01 * plane["half"])
            wanted = latent_space.decode(model, z, label).ravel()
            worst = max(worst, np.abs(output - wanted).max())
            np.testing.assert_allclose(output, wanted, atol=1e-3)
            np.testing.assert_allclose(painted / 255, wanted, atol=1e-3 + 0.5 / 255)
            outputs.append(output)
        assert np.abs(np.subtract(outputs[1:], outputs[0])).max() > 0.03  # a wrong place would show

        draw(page)
        drawn, code = page.evaluate("[[...explorer.state.drawn], [...explorer.state.code]]")
        drawn = np.array(drawn, "float32").reshape(1, *model.spec.shape)
        assert 0.01 < drawn.mean() < 0.5
        wanted = latent_space.embed(model, drawn, None if label is None else [label])[0]
        np.testing.assert_allclose(code, wanted, atol=1e-3)
        blank = latent_space.embed(model, 0 * drawn, None if label is None else [label])[0]
        assert np.abs(code - blank).max() > 0.03

        page.mouse.move(5, 5)
        before = page.evaluate("[...explorer.state.kept]")
        page.focus("#plane")
        page.keyboard.press("ArrowRight")
        step = np.subtract(page.evaluate("[...explorer.state.kept]"), before) @ np.transpose(plane["directions"])
        np.testing.assert_allclose(step, [0.04 * plane["half"], 0], atol=1e-4)
        seconds = page.evaluate(
            """async () => {
              const begin = performance.now();
              for (let i = 0; i < 200; i += 1) await explorer.decode(explorer.draws[i % explorer.draws.length]);
              return (performance.now() - begin) / 1000;
            }"""
        )
    print(f"\n{name}: {done.size / 1e6:.2f} MB, {200 / seconds:.0f} decodes/s, largest error {worst:.1e}")
    assert done.size < 10e6


def test_a_drawing_is_read_as_another_class_and_gives_way_to_an_example(browser, conditional_run, tmp_path):
    with opened(browser, explore(Run(conditional_run), tmp_path / "page.html").path) as page:
        draw(page)
        before = page.evaluate("[...explorer.state.code]")
        page.locator("#labels button").nth(7).click()
        answered(page, f"explorer.state.code.some((each, i) => each !== {before}[i])")
        assert page.evaluate("explorer.state.kept === explorer.state.code")
        for index in (0, 3, 11):
            page.locator("#examples button").nth(index).click()
            answered(page, f"explorer.state.kept === explorer.codes[{index}]")
            settled(page)
            chosen, ends = page.evaluate("[explorer.state.label, explorer.state.ends]")
            label = page.locator("#examples button").nth(index).get_attribute("aria-label")
            assert label.endswith(page.locator("#labels button").nth(chosen).inner_text())
            assert index in ends


def test_the_map_fills_with_pictures(browser, conditional_run, tmp_path):
    with opened(browser, explore(Run(conditional_run), tmp_path / "page.html").path) as page:
        before = page.evaluate("document.getElementById('ground').toDataURL()")
        page.locator("[data-mode=pictures]").click()
        answered(page, "explorer.state.filled")
        assert page.evaluate("document.getElementById('ground').toDataURL()") != before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_follows_the_theme_and_fits_a_phone(theme, browser, conditional_run, tmp_path):
    path = explore(Run(conditional_run), tmp_path / "page.html").path
    with opened(browser, path, color_scheme=theme) as page:
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") != theme
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_hostile_name_runs_nothing(browser, conditional_run, tmp_path):
    page_text = pages.page_of(hostile(content.content_of(Run(conditional_run))), runtime.litert_js())
    path = tmp_path / "page.html"
    path.write_bytes(page_text.encode("utf-16"))
    with opened(browser, path) as page:
        assert page.locator("#model").inner_text() == HOSTILE
        assert page.locator("#legend button").first.inner_text() == HOSTILE
        assert page.locator("img").count() == 0
