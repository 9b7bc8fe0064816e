"""What can be done to a board in a browser: `make studio-check`. The server renders nothing here.

Each test opens a board of its own in one page, and looks at the file that is saved.
"""

from __future__ import annotations

import json
import signal
import zipfile
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from studio_kit import Server, png

from studies.studio import opened, visit

EVENTS = [{"text": "it turns blue", "during": [1.0, 2.0]}]
BOARD = {
    "prompt": "a red disc",
    "duration": 4.0,
    "subjects": [{"word": "red disc", "image": "a.png", "appears": [[0.5, 1.5], [2.0, 3.0]]}],
    "events": EVENTS,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("editing") / "studio")
    yield server
    server.end(signal.SIGINT)


@pytest.fixture(scope="module")
def page(server):
    with opened(server.address, reduced_motion="reduce", bypass_csp=False) as page:
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        yield page
        assert not wrong


@pytest.fixture
def saved(page, server, tmp_path_factory):
    """Reads the file of the board that is open, once it is saved."""
    load(page, BOARD)
    expect(page.locator("#problem")).to_be_empty()  # and so nothing moves on the page any more
    boards = tmp_path_factory.getbasetemp().glob("editing*/studio/boards")
    folder = max(boards, key=lambda path: path.stat().st_mtime)

    def read():
        expect(page.locator("#saved")).to_have_text("saved")
        return yaml.safe_load((folder / f"{page.url.split('#')[1]}.yaml").read_text())

    return read


def load(page, board):
    """Opens a file and its picture by the menu."""
    before = page.url
    text = yaml.safe_dump(board, allow_unicode=True).encode()
    files = [("b.yaml", "application/yaml", text), ("a.png", "image/png", png((40, 40)))]
    page.set_input_files(
        "#open-file", [{"name": n, "mimeType": kind, "buffer": data} for n, kind, data in files]
    )
    page.wait_for_function("before => location.href !== before", arg=before)


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label')") or ""


def bars(page, row=0):
    return page.locator(".rows .row").nth(row).locator(".bar")


def test_a_row_without_bars_is_drawn_into_by_keys(page, saved):
    bars(page).first.focus()
    page.keyboard.press("Delete")
    assert focused(page) == "red disc: 2.00 s to 3.00 s"
    page.keyboard.press("Delete")
    assert focused(page) == "red disc has no bars; N draws one at the playhead"
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("it turns blue")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    page.keyboard.press("n")
    assert focused(page) == "red disc: 0.00 s to 1.00 s"
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    assert saved()["subjects"][0]["appears"] == [[0, 1]]
    page.focus("#add-subject")  # a new row, its word, and from there to its bar
    page.keyboard.press("Enter")
    page.keyboard.type("star")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert saved()["subjects"][1]["word"] == "star"


def test_events_are_split_copied_drawn_and_deleted_by_keys(page, saved):
    bars(page, 1).first.focus()
    page.keyboard.press("Home")
    for _ in range(12):
        page.keyboard.press(".")
    page.keyboard.press("s")
    assert [one["during"] for one in saved()["events"]] == [[1, 1.5], [1.5, 2]]
    page.keyboard.press("d")
    found = saved()["events"]
    assert len(found) == 3 and {one["text"] for one in found} == {"it turns blue"}
    assert found[2]["during"][0] >= 2
    page.keyboard.press("n")  # one that nobody has described yet
    assert len(saved()["events"]) == 4
    page.keyboard.press("Escape")
    bars(page, 2).first.focus()
    page.keyboard.press("Delete")
    assert [one["during"] for one in saved()["events"]][:2] == [[1, 1.5], found[2]["during"]]
    for _ in range(4):
        page.keyboard.press("Control+z")
    assert saved()["events"] == EVENTS
    for _ in range(4):
        page.keyboard.press("Control+y")
    assert len(saved()["events"]) == 3


def test_several_bars_are_chosen_moved_and_duplicated(page, saved):
    first, second = bars(page).nth(0).bounding_box(), bars(page).nth(1).bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(first["x"] - 8, first["y"] + 35)
    page.mouse.down()
    page.mouse.move(second["x"] + 9, second["y"] + 5, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert page.locator(".bar[aria-pressed=true]").count() == 2
    middle = second["x"] + second["width"] / 2, second["y"] + second["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 2000, middle[1], steps=4)  # as far as there is room for both
    page.mouse.up()
    assert saved()["subjects"][0]["appears"] == [[1.625, 2.625], [3.125, 4]]  # as many frames
    page.keyboard.press("Escape")
    bars(page).first.focus()
    page.keyboard.press("d")
    assert len(saved()["subjects"][0]["appears"]) == 3
    wide = page.locator(".inner").bounding_box()["width"]
    page.keyboard.press("+")
    assert page.locator(".inner").bounding_box()["width"] > 1.2 * wide
    page.keyboard.press("0")
    assert page.locator(".inner").bounding_box()["width"] == wide


def test_pictures_are_pasted_and_cropped_by_keys(page, saved, server):
    bars(page).first.focus()
    page.evaluate(
        """bytes => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], "p.png", { type: "image/png" }));
          const how = { clipboardData: files, bubbles: true, cancelable: true };
          document.activeElement.dispatchEvent(new ClipboardEvent("paste", how));
        }""",
        list(png((50, 30), (20, 60, 200))),
    )
    picture = page.locator(".rows .row .picture").first
    page.wait_for_function(
        "() => document.querySelector('.rows .picture img')?.naturalWidth === 50"
    )
    assert len(saved()["subjects"]) == 1
    picture.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#crop canvas")).to_be_visible()
    assert not serious(page)
    page.fill("#crop [name=left]", "10")
    page.fill("#crop [name=bottom]", "20")
    page.locator("#crop").get_by_role("button", name="Crop").press("Enter")
    page.wait_for_function(
        "() => document.querySelector('.rows .picture img')?.naturalWidth === 40"
    )
    path = saved()["subjects"][0]["image"]
    assert server.ask("/api/state")["workspace"]
    place = Path(server.ask("/api/state")["workspace"]) / "boards" / path
    with Image.open(place) as image:
        assert image.size == (40, 20)
    page.keyboard.press("Control+z")
    page.wait_for_function(
        "() => document.querySelector('.rows .picture img')?.naturalWidth === 50"
    )


def test_a_file_comes_out_of_the_page_as_it_went_in(page, saved):
    full = {
        "prompt": "a red disc: “slow”, then\nfast",
        "duration": 3.5,
        "fps": 8,
        "size": [64, 64],
        "seed": 7,
        "negative_prompt": "blur # no comment",
        "first_frame": "a.png",
        "keyframes": [{"image": "a.png", "at": 2.5}, {"image": "a.png", "at": 1}],
        "subjects": [{"word": "red disc", "image": "a.png", "appears": [[1 / 3, 1.0], [2, 3.4]]}],
        "events": EVENTS,
    }
    load(page, full)
    page.fill("#prompt", "something else")
    page.locator("h1").click()
    page.keyboard.press("Control+z")
    back = saved()
    with page.expect_download() as file:
        page.click("#file-menu summary")
        assert not serious(page)
        page.click("#save-yaml")
    text = Path(file.value.path()).read_text()
    assert yaml.safe_load(text.replace("pictures/", "../pictures/")) == back
    picture = back["first_frame"]
    assert json.loads(json.dumps(back).replace(picture, "a.png")) == full


def test_boards_are_exported_for_other_systems(page, saved):
    saves = {}
    for name in ("prompt-relay", "ltx-director", "text"):
        with page.expect_download() as file:
            page.click("#file-menu summary")
            page.locator("#formats").get_by_text(name, exact=True).click()
        saves[name] = Path(file.value.path()).read_bytes(), file.value.suggested_filename
    relay = saves["prompt-relay"][0]
    assert json.loads(relay) and b"red disc" in relay
    for content, name in saves.values():
        if name.endswith(".json"):
            assert json.loads(content)
        elif name.endswith(".zip"):
            assert zipfile.is_zipfile(file.value.path())
        else:
            assert "red disc" in content.decode()


def test_dialogs_say_what_they_are(page, saved):
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert not serious(page)
    page.keyboard.press("Escape")
    page.click("#file-menu summary")
    page.click("#delete-board")
    expect(page.locator("#confirm")).to_be_visible()
    assert not serious(page)
    page.keyboard.press("Escape")
    page.fill("#duration", "0.2")
    page.press("#duration", "Enter")
    expect(page.locator("#problem")).to_contain_text("appears")
    assert not serious(page)
    page.click("#undo")


def serious(page):
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["impact"]) for one in found if one["impact"] != "minor"]


def test_other_models_take_any_size_and_keyframes_and_videos_take_events(page, saved):
    """None of the bundled models does, so the page is told that this one did."""
    video = {"id": "v", "name": "a.mp4", "state": "done", "error": "", "done": 1, "total": 1}

    def told(route):
        answer = route.fetch()
        state = answer.json()
        state["model"] |= {"more_keyframes": "frames", "multiple": 16, "events": False}
        state["videos"] = [{**video, "boards": [page.url.split("#")[1]]}]
        route.fulfill(response=answer, json=state)

    other = page.context.new_page()
    other.route("**/api/state", told)
    other.route("**/api/events", lambda route: route.abort())
    visit(other, page.url)
    expect(other.locator("#add-event")).to_be_enabled()
    other.select_option("#size", "other")
    other.fill("#other-size input", "480 x 832")
    other.press("#other-size input", "Enter")
    expect(other.locator("#size")).to_have_value("480x832")
    expect(other.locator("#problem")).to_contain_text("size: ")
    transfer = other.evaluate_handle(
        "bytes => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(bytes)],"
        " 'k.png', {type: 'image/png'})); return t; }",
        list(png((40, 40))),
    )
    box = other.locator(".keys").bounding_box()
    at = {"dataTransfer": transfer, "clientX": box["x"] + box["width"] * 0.6}
    other.dispatch_event(".keys", "drop", at)
    expect(other.locator(".keyframe img")).to_have_count(1)
    assert not other.locator(".keyframe").get_attribute("aria-label").startswith("Keyframe at 0.00")
    expect(other.locator("#saved")).to_have_text("saved")
    other.close()
