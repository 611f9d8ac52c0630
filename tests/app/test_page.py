"""The page in a real browser (``pytest -m browser``; Gradio, Playwright and /usr/bin/chromium), and its refusals."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
import torch
from PIL import Image

from semantic_aug import Artifact
from semantic_aug.app.page import guards
from semantic_aug.cli import main as cli
from semantic_aug.evaluation.classifier import Judge, resnet18
from tests.conftest import CLASSES

SPACE = Path(__file__).parents[2] / "examples" / "space"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
# Runs a program and writes every host that it looks up or connects to into a file.
WATCHED = """
import sys
def watch(event, arguments, file=open(sys.argv[1], "a", buffering=1)):
    if event == "socket.getaddrinfo":
        print(arguments[0], file=file)
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        print(arguments[1][0], file=file)
sys.addaudithook(watch)
from semantic_aug.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


# --- Without a browser --------------------------------------------------------------------------------------------


def test_without_gradio_the_extra_is_named(saved, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["app", str(saved)]) == 2
    assert capsys.readouterr().err == 'semantic-aug app: the page needs Gradio: pip install "semantic-aug[demo]"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no checkpoint 'nothing'"),
        (["{saved}", "{tmp}/no"], "no such folder"),
        (["{saved}", "--judge", "{tmp}/no"], "no such file; expected a judge"),
        (["{saved}", "--judge", "{tmp}/judge"], "the judge knows the classes ['cat', 'dog'], asked about ['angry'"),
    ],
)
def test_what_is_refused(saved, tmp_path, capsys, arguments, message):
    write_judge(tmp_path / "judge", ["cat", "dog"])
    assert cli.main(["app", *(argument.format(saved=saved, tmp=tmp_path) for argument in arguments)]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


def test_the_space_is_complete():
    from huggingface_hub import SpaceCard

    card = SpaceCard.load(SPACE / "README.md", ignore_metadata_errors=False)
    assert (card.data.sdk, card.data.license) == ("gradio", "apache-2.0")
    assert (SPACE / card.data.to_dict()["app_file"]).is_file()
    assert "semantic-aug[demo]" in (SPACE / "requirements.txt").read_text().splitlines()
    assert sorted(path.name for path in SPACE.iterdir() if path.is_file()) == [
        "README.md",
        "app.py",
        "requirements.txt",
    ]


def write_judge(path, classes):
    torch.manual_seed(0)
    network = resnet18(1, len(classes))
    return Judge(network=network, classes=classes, channels=1, size=32, images=1, epochs=1, seed=0).save(path)


UPLOAD = """
import os, sys
from pathlib import Path
from semantic_aug import Artifact
from semantic_aug.app.page import UPLOADS, build
from semantic_aug.figures.sources import example_images
artifact = Artifact.from_pretrained(sys.argv[1])
blocks = build(artifact, "name", example_images(artifact))
assert blocks.delete_cache == UPLOADS
(upload,) = [each.fn for each in blocks.fns.values() if getattr(each.fn, "__name__", "") == "upload"]
thumbnails = sorted(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*.png"))
image, message, class_name, gallery = upload(str(thumbnails[0]))
assert (image.shape, message, class_name) == ((1, 32, 32), "", "(unknown)"), message
assert gallery.selected_index is None
assert sorted(Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*.png")) == thumbnails
"""


@pytest.mark.slow
def test_an_upload_is_read_and_no_file_is_deleted(saved, tmp_path):
    """For a request may name a file of the page, or one that another visitor uses."""
    needs("gradio")
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "temporary")}
    subprocess.run([sys.executable, "-c", UPLOAD, saved], env=environment, check=True)


@pytest.mark.parametrize(
    ("host", "share", "guarded"),
    [(None, False, True), ("127.0.0.1", False, True), ("0.0.0.0", False, False), ("127.0.0.1", True, False)],
)
def test_a_page_on_this_machine_alone_is_guarded(host, share, guarded, monkeypatch):
    needs("gradio")
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert bool(guards(host, share)) == guarded


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_foreign_hosts_are_refused_and_no_picture_outlives_the_page(saved, tmp_path, ending):
    needs("gradio")
    port = free_port()
    command = [sys.executable, "-m", "semantic_aug", "app", str(saved), "--port", str(port)]
    with serving(command, port, {"TMPDIR": str(tmp_path)}, ending) as address:
        assert list(tmp_path.rglob("*.png"))
        request = urllib.request.Request(address, headers={"Host": f"evil.example:{port}"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        assert caught.value.code == 400
        caught.value.close()
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".png" or path.name.endswith(".part")]


# --- In a browser -------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return open_socket.getsockname()[1]


@contextmanager
def serving(command, port, environment=None, ending=signal.SIGINT):
    """A server as a process; its address once it answers."""
    process = subprocess.Popen(
        command, env=os.environ | (environment or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.3)
        yield address
    finally:
        process.send_signal(ending)
        process.communicate(timeout=30)


def needs(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of the page on ``fer2013-48``, a file with the hosts it asked for, and its temporary folder."""
    needs("gradio", "playwright")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}")
    folder = tmp_path_factory.mktemp("app")
    write_judge(folder / "judge", Artifact.from_pretrained("fer2013-48").classes)
    (folder / "temporary").mkdir()
    port = free_port()
    words = ["app", "fer2013-48", "--port", str(port), "--judge", folder / "judge"]
    command = [sys.executable, "-c", WATCHED, folder / "hosts", *words]
    with serving(command, port, {"TMPDIR": str(folder / "temporary")}) as address:
        yield address, folder / "hosts", folder / "temporary"
    assert not list((folder / "temporary").rglob("*.png")), "pictures outlive the page"


@pytest.fixture
def tab(server):
    """The page, loaded; every address that it asked for is in ``tab.asked``, every complaint in ``tab.complaints``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.asked, tab.complaints = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("console", lambda message: tab.complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.goto(server[0])
        tab.wait_for_selector("#draws .wall img", timeout=60_000)
        yield tab
        browser.close()


def pictures(tab, where):
    return tab.eval_on_selector_all(f"{where} img", "images => images.map(image => image.src)")


def changed(tab, where, before):
    """The pictures at ``where`` once they differ from ``before``."""
    tab.wait_for_function(
        "([where, before]) => { const now = [...document.querySelectorAll(where + ' img')].map(image => image.src);"
        " return now.length && now.join() !== before.join(); }",
        arg=[where, before],
    )
    return pictures(tab, where)


def slide(tab, which, value):
    field = tab.locator(f"#{which} input[type=number]")
    field.fill(str(value))
    field.press("Enter")


@pytest.mark.browser
def test_controls_change_the_pictures(tab, tmp_path):
    first = pictures(tab, "#draws")
    assert len(set(first)) == 10
    slide(tab, "strength", 1)
    stronger = changed(tab, "#draws", first)
    assert stronger[:2] == first[:2], "source and reconstruction stay"
    assert not set(stronger[2:]) & set(first[2:])
    slide(tab, "strength", 0)
    same = changed(tab, "#draws", stronger)
    assert set(same[2:]) == {same[0]}, "detail at strength 0 is the image"
    slide(tab, "strength", 0.35)
    assert changed(tab, "#draws", same) == first, "the noise is that of the seed"
    tab.get_by_role("button", name="Draw again").click()
    again = changed(tab, "#draws", first)
    assert not set(again[2:]) & set(first[2:])
    tab.get_by_label("decode").check()
    changed(tab, "#draws", again)
    tab.screenshot(path=tmp_path / "draws.png", full_page=True)
    assert not tab.complaints


@pytest.mark.browser
def test_a_thumbnail_is_picked_with_its_class(tab):
    first = pictures(tab, "#draws")
    thumbnail = tab.locator("#gallery button.thumbnail-item").nth(11)
    name = thumbnail.locator("img").get_attribute("alt")
    assert name == "happy"
    thumbnail.click()
    assert changed(tab, "#draws", first)[0] != first[0]
    assert tab.get_by_label("Class").input_value() == "happy"
    assert not tab.complaints


@pytest.mark.browser
def test_a_walk_and_back(tab, tmp_path):
    tab.get_by_role("tab", name="Directions").click()
    tab.wait_for_selector("#walked .wall img")
    start = pictures(tab, "#walked")
    assert start[0] == start[1]
    slide(tab, "walk1", 3)
    one = changed(tab, "#walked", start)
    slide(tab, "walk4", -2)
    two = changed(tab, "#walked", one)
    assert one[0] == two[0] == start[0]
    tab.screenshot(path=tmp_path / "walk.png", full_page=True)
    tab.get_by_role("button", name="Back to the image").click()
    tab.wait_for_function("before => document.querySelectorAll('#walked img')[1].src === before", arg=start[1])
    assert not tab.complaints


@pytest.mark.browser
def test_uploads(tab, server, tmp_path):
    (tmp_path / "note.png").write_text("no image")
    Image.new("1", (6000, 6000)).save(tmp_path / "pixels.png")
    (tmp_path / "long.png").write_bytes(bytes(11 << 20))
    Image.effect_noise((60, 40), 90).convert("RGB").save(tmp_path / "good.jpg")
    first = pictures(tab, "#draws")
    for file, words in (("note.png", "not an image"), ("pixels.png", "too many pixels"), ("long.png", "11.0 MB")):
        tab.set_input_files("input[type=file]", tmp_path / file)
        tab.locator("#message", has_text=words).wait_for(timeout=60_000)
    tab.screenshot(path=tmp_path / "message.png", full_page=True)
    assert pictures(tab, "#draws") == first
    assert tab.locator("#gallery .selected").count() == 1
    tab.set_input_files("input[type=file]", tmp_path / "good.jpg")
    assert changed(tab, "#draws", first)[0] != first[0]
    tab.locator("#draws", has_text="does not look like what the checkpoint was trained on").wait_for()
    tab.wait_for_function("!document.querySelector('#gallery .selected')")
    assert tab.get_by_label("Class").input_value() == "(unknown)"
    tab.screenshot(path=tmp_path / "foreign.png", full_page=True)
    tab.get_by_role("tab", name="Directions").click()
    tab.get_by_label("decode").check()
    tab.wait_for_function(
        "document.querySelectorAll('#walked img')[0].src !== document.querySelectorAll('#walked img')[1].src"
    )
    tab.screenshot(path=tmp_path / "walk.png", full_page=True)
    tab.get_by_role("tab", name="Draws").click()
    tab.locator("#gallery button.thumbnail-item").first.click()
    tab.wait_for_function("document.querySelector('#gallery .selected')")
    tab.wait_for_function("document.querySelector('#class input').value === 'angry'")
    assert not tab.locator("#message p").is_visible()
    left = [path for path in server[2].rglob("*") if path.name == "good.jpg"]
    assert left, "another visitor may have uploaded the same image"
    assert not tab.complaints


@pytest.mark.browser
def test_a_perturbation_without_a_class_is_explained(tab):
    tab.get_by_role("button", name="More").click()
    for field, choice in (("Class", "(unknown)"), ("Perturbation", "class-gaussian")):
        tab.get_by_label(field).click()
        tab.get_by_role("option", name=choice).click()
    tab.locator("#draws", has_text="class-gaussian needs a class").wait_for()
    assert not pictures(tab, "#draws")


@pytest.mark.browser
def test_the_strength_goes_to_1_and_further_if_asked(tab):
    assert tab.locator("#mode input").first.get_attribute("value") == "detail"
    slider = tab.locator("#strength input[type=range]")
    assert slider.get_attribute("max") == "1"
    tab.get_by_role("button", name="More").click()
    tab.get_by_label("Strength up to 2").check()
    tab.wait_for_function("document.querySelector('#strength input[type=range]').max === '2'")
    slide(tab, "strength", 2)
    tab.wait_for_function("document.querySelector('#strength input[type=range]').value === '2'")
    tab.get_by_label("Strength up to 2").uncheck()
    tab.wait_for_function("document.querySelector('#strength input[type=range]').value === '1'")
    assert not tab.complaints


# Elements that scroll although they need not, apart from the pane with the result on a phone.
STRAY = """
[...document.querySelectorAll("gradio-app *")].filter(each => each.checkVisibility() && each.id !== "results"
  && ["scrollWidth", "scrollHeight"].some((size, i) => each[size] > each[["clientWidth", "clientHeight"][i]] + 1
  && ["auto", "scroll"].includes(getComputedStyle(each)[["overflowX", "overflowY"][i]])))
  .map(each => each.tagName + "." + each.className)
"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_a_desktop_and_a_phone(tab, tmp_path, width, scheme):
    """On a phone, the result stands above the controls, and its pictures stay in sight while they move."""
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 844})
    tab.reload()
    tab.wait_for_selector("#draws .wall img", timeout=60_000)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tiles = tab.locator("#gallery .thumbnail-item"), tab.locator("#draws .wall").last.locator("figure")
    for found, in_all, in_a_row in zip(tiles, (21, 8), (7, 4), strict=True):
        boxes = [each.bounding_box() for each in found.all()]
        assert len(boxes) == in_all
        assert all(box["x"] + box["width"] <= width for box in boxes)
        assert sum(box["y"] == boxes[0]["y"] for box in boxes) == in_a_row
    assert tab.evaluate(STRAY) == []
    tab.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    if width == 390:
        slider = tab.locator("#strength input[type=range]")
        assert tiles[1].last.bounding_box()["y"] < slider.bounding_box()["y"]
        tab.evaluate("scrollTo(0, document.body.scrollHeight)")
        tab.wait_for_function("scrollY > 300")
        assert tab.locator("#results").bounding_box()["y"] == pytest.approx(0, abs=1)
        last, moved = tiles[1].last.bounding_box(), slider.bounding_box()
        assert last["y"] + last["height"] < moved["y"] < 844
        tab.screenshot(path=tmp_path / f"{width}-{scheme}-scrolled.png")


@pytest.mark.browser
def test_no_request_leaves_the_machine(tab, server):
    address, hosts, _ = server
    assert len(tab.asked) > 10
    assert [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))] == []
    assert set(hosts.read_text().split()) <= {"127.0.0.1", "localhost", "::1"}


@pytest.mark.browser
def test_the_space(tmp_path):
    needs("gradio")
    port = free_port()
    with serving([sys.executable, SPACE / "app.py"], port, {"GRADIO_SERVER_PORT": str(port)}) as address:
        text = urllib.request.urlopen(address, timeout=10).read().decode()
    assert re.search(r"semantic-aug: fashion-mnist-32", text)


@pytest.mark.browser
def test_the_preview_page_in_a_browser(saved, folder, tmp_path):
    """Nothing is asked of the network, every picture is drawn, and a phone scrolls the figures, not the page."""
    needs("playwright")
    from playwright.sync_api import sync_playwright

    assert cli.main(["preview", str(saved), str(folder), "--output", str(tmp_path / "page.html")]) == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for width, scheme in product((1280, 390), ("light", "dark")):
            tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            asked, complaints = [], []
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.on("console", lambda message, complaints=complaints: complaints.append(message.text))
            tab.goto((tmp_path / "page.html").as_uri())
            tab.wait_for_load_state("networkidle")
            assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
            assert not complaints
            assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 32)")
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            assert all(tab.get_by_text(name).count() for name in CLASSES)
            widest = tab.locator("#pairs .tiles").bounding_box()
            if width == 390:
                assert widest["width"] > width, "scrolled sideways"
            else:
                assert widest["width"] > 0.9 * width
                tops = [each.bounding_box()["y"] for each in tab.locator("#directions .tiles").all()]
                assert tops[0] == tops[1] < tops[2], "two columns"
            tab.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
        browser.close()
