"""The page in a browser: `make studio-check`, for it needs Chromium, which pip does not install.

A bar is dragged with the mouse and with keys, the sprites model of few steps renders, what was
measured is read back, everything is undone, and the server is started again.
"""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from studio_kit import png

from studies.studio import opened, pull, served, visit


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def address(workspace):
    with served(workspace, "sprites/fast") as address:
        yield address


@pytest.fixture(scope="module")
def page(address):
    with opened(address, reduced_motion="reduce", bypass_csp=False) as page:
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.click("#file-menu summary")
        page.get_by_role("button", name="two subjects").click()
        expect(page.locator(".rows .word").first).to_have_value("purple moon")
        expect(page.locator(".bar")).to_have_count(2)
        yield page
        assert not wrong


def bar(page, number=0):
    return page.locator(".bar").nth(number)


def times(page, number=0):
    found = re.search(r": ([\d.]+) s to ([\d.]+) s$", bar(page, number).get_attribute("aria-label"))
    return float(found[1]), float(found[2])


def test_a_bar_is_dragged_and_undone(page):
    before = times(page)
    pull(page, bar(page), 100)
    moved = times(page)
    assert moved[0] > before[0] + 0.2 and moved[1] - moved[0] == pytest.approx(2.0, abs=0.13)
    assert float(page.locator("#inspector [name=start]").input_value()) % 0.125 == 0  # on a frame
    page.keyboard.press("Control+z")
    assert times(page) == before
    page.keyboard.press("Control+Shift+z")
    assert times(page) == moved
    page.click("#undo")
    assert times(page) == before
    expect(page.locator("#undo")).to_be_disabled()


def test_edges_are_dragged_and_snap_to_latent_frames(page):
    page.select_option("#snap", "latents")
    box = bar(page, 1).bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 4, y)
    page.mouse.down()
    page.mouse.move(box["x"] - 120, y, steps=5)
    page.mouse.up()
    start, end = times(page, 1)
    assert end == 4.0 and round(start * 8) % 4 == 1 and start < 1.6
    page.select_option("#snap", "frames")
    page.keyboard.press("Control+z")


def test_everything_goes_by_keyboard(page):
    bar(page).focus()
    before = times(page)
    page.keyboard.press("ArrowRight")
    assert times(page)[0] == pytest.approx(before[0] + 0.125, abs=0.07)
    page.keyboard.press("Alt+ArrowRight")
    assert times(page)[1] - times(page)[0] == pytest.approx(before[1] - before[0] + 0.125, abs=0.07)
    page.keyboard.press("Alt+Shift+ArrowLeft")
    page.keyboard.press("ArrowDown")
    expect(bar(page, 1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    for _ in range(12):
        page.keyboard.press(".")
    page.keyboard.press("s")
    assert page.locator(".bar").count() == 3
    page.keyboard.press("Delete")
    assert page.locator(".bar").count() == 2
    page.keyboard.press("Control+a")
    assert page.locator(".bar[aria-pressed=true]").count() == 2
    page.keyboard.press("Escape")
    bar(page).focus()
    page.keyboard.press("Shift+ArrowDown")
    assert page.locator(".bar[aria-pressed=true]").count() == 2
    page.keyboard.press("Enter")
    assert page.locator(".bar[aria-pressed=true]").count() == 1
    page.focus("#live")
    page.keyboard.press("Space")
    expect(page.locator("#live")).to_be_checked()
    page.keyboard.press("Space")
    expect(page.locator("#live")).not_to_be_checked()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    while page.locator("#undo").is_enabled():
        page.keyboard.press("Control+z")
    assert times(page) == before


def test_what_cannot_be_rendered_is_said_as_it_is_typed(page):
    page.fill("#duration", "5")
    page.press("#duration", "Enter")
    expect(page.locator("#problem")).to_contain_text("5 s at 8 fps is 41 frames, not possible")
    page.press("#duration", "Escape")
    page.locator("h1").click()
    page.click("#undo")
    expect(page.locator("#problem")).to_be_empty()


def test_a_render_is_shown_with_what_was_measured(page):
    expect(page.locator("#steps")).to_be_disabled()  # a distilled model has its own
    schemes = page.locator("#scheme option").all_text_contents()
    assert schemes[0] == "FittedRope, as trained" and "WeRope, untrained" in schemes[1:]
    page.click("#render")
    expect(page.locator("#result canvas")).to_be_visible(timeout=60_000)
    expect(page.locator("#renders li.done")).to_have_count(1, timeout=120_000)
    rows = page.locator(".measured-row")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(re.compile("frame|never seen"))
    assert rows.locator(".heat-lane i").count() == 2 * 9  # latent frames
    assert page.locator(".lane i").count() >= 1  # measured spans under the bars themselves
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")  # motion is reduced
    expect(page.locator("#frame")).to_have_text("16 / 32")
    page.locator("#scrub").fill("20")
    expect(page.locator("#frame")).to_have_text("20 / 32")


def test_two_renders_are_compared(page):
    page.fill("#seed", "9")
    page.press("#seed", "Enter")
    page.click("#render")
    expect(page.locator("#renders li.done")).to_have_count(2, timeout=120_000)
    page.locator("#renders li").nth(1).get_by_text("Compare").click()
    wipe = page.locator(".wipe")
    expect(wipe).to_be_visible()
    wipe.fill("1")
    left = page.evaluate("document.querySelector('#screens canvas').toDataURL()")
    wipe.fill("0")
    assert page.evaluate("document.querySelector('#screens canvas').toDataURL()") != left


def test_seeds_are_shown_side_by_side(page):
    page.select_option("#seeds", "2")
    page.click("#render")
    expect(page.locator("#renders li.done")).to_have_count(4, timeout=120_000)
    expect(page.locator("#screens canvas")).to_have_count(2)
    expect(page.locator("#screens figcaption")).to_have_text(["#3, seed 9", "#4, seed 10"])
    expect(page.locator("#about")).to_contain_text("#3:")
    page.locator("#screens").get_by_role("button", name="#4, seed 10").click()
    expect(page.locator("#about")).to_contain_text("#4:")
    same = page.locator("#renders li").nth(1)  # nothing but their number has changed since
    expect(same).to_contain_text("the same clip as #2")
    expect(page.locator("#renders li").first).not_to_contain_text("the same clip")
    page.select_option("#seeds", "1")


def test_a_page_that_is_loaded_again_follows_its_renders(page):
    page.fill("#seed", "31")
    page.press("#seed", "Enter")
    expect(page.locator("#saved")).to_have_text("saved")
    page.select_option("#seeds", "2")
    page.click("#render")
    expect(page.locator("#renders li.running")).to_have_count(1)
    page.reload()
    titles = ["#5, seed 31", "#6, seed 32"]
    expect(page.locator("#screens figcaption")).to_have_text(titles, timeout=60_000)
    expect(page.locator("#renders li.done")).to_have_count(6)


def test_pictures_are_dropped_and_boards_saved(page, workspace):
    transfer = page.evaluate_handle(
        "bytes => { const t = new DataTransfer(); t.items.add(new File([new Uint8Array(bytes)],"
        " 'red_disc.png', {type: 'image/png'})); return t; }",
        list(png((40, 40))),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator(".rows .row")).to_have_count(3)
    expect(page.locator(".rows .word").nth(2)).to_have_value("red disc")
    expect(page.locator("#saved")).to_have_text("saved")
    path = workspace / "boards" / f"{page.url.split('#')[1]}.yaml"
    assert yaml.safe_load(path.read_text())["subjects"][2]["word"] == "red disc"
    with page.expect_download() as file:
        page.click("#file-menu summary")
        page.click("#save-zip")
    assert file.value.suggested_filename == "board.zip"
    with page.expect_download() as file:
        page.click("#file-menu summary")
        page.get_by_text("prompt-relay", exact=True).click()
    assert file.value.suggested_filename == "board.json"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, width, scheme):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 850})
    found = Axe().run(page).response["violations"]
    assert not [(one["id"], one["impact"]) for one in found if one["impact"] != "minor"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_new_server_finds_everything_again(workspace, page):
    def words(shown):
        return shown.locator(".rows .word").evaluate_all("all => all.map(one => one.value)")

    before, board = words(page), page.url.split("#")[1]
    there = workspace.parent / "again"
    shutil.copytree(workspace, there)
    with served(there, "sprites/fast") as address:
        again = page.context.new_page()
        visit(again, f"{address}#{board}")
        assert words(again) == before
        expect(again.locator("#renders li.done")).to_have_count(6)
        expect(again.locator(".measured-row")).to_have_count(2)
        again.close()


def test_keyframes_are_added_where_the_model_takes_them(page, address):
    """None of the bundled models does, so the page is told that this one did."""

    def told(route):
        answer = route.fetch()
        state = answer.json()
        state["model"]["more_keyframes"] = "frames"
        route.fulfill(response=answer, json=state)

    other = page.context.new_page()
    other.route("**/api/state", told)
    other.route("**/api/events", lambda route: route.abort())
    visit(other, address)
    expect(other.get_by_role("button", name="Choose the last frame")).to_be_visible()
    with other.expect_file_chooser() as chooser:
        other.get_by_role("button", name="Add a keyframe").click()
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    expect(other.locator(".keyframe img")).to_have_count(1)
    other.click("#undo")
    expect(other.locator(".keyframe")).to_have_count(0)
    expect(other.locator("#saved")).to_have_text("saved")
    other.close()


def test_keyframes_are_moved_and_saved_at_their_times(page, workspace):
    board = {"prompt": "a red disc", "duration": 4.0, "subjects": []}
    board["keyframes"] = [{"image": "a.png", "at": 1.0}, {"image": "a.png", "at": 2.0}]
    files = {"a.yaml": yaml.safe_dump(board).encode(), "a.png": png()}
    kinds = {"a.yaml": "application/yaml", "a.png": "image/png"}
    page.set_viewport_size({"width": 1280, "height": 850})
    page.set_input_files(
        "#open-file",
        [{"name": n, "mimeType": kinds[n], "buffer": data} for n, data in files.items()],
    )
    markers = page.locator(".keyframe")
    expect(markers).to_have_count(2)
    expect(page.locator("#problem")).to_contain_text("keyframes: the one at 1 s: cannot be given")
    first = markers.first
    pull(page, first, 100)
    expect(first).not_to_have_attribute("aria-label", "Keyframe at 1.00 s")
    page.keyboard.press("Control+z")
    expect(first).to_have_attribute("aria-label", "Keyframe at 1.00 s")
    first.focus()
    page.keyboard.press("ArrowRight")
    expect(first).to_have_attribute("aria-label", "Keyframe at 1.13 s")
    markers.nth(1).focus()
    page.keyboard.press("Delete")
    expect(page.locator("#saved")).to_have_text("saved")
    saved = yaml.safe_load((workspace / "boards" / f"{page.url.split('#')[1]}.yaml").read_text())
    assert [one["at"] for one in saved["keyframes"]] == [1.125]


def test_two_windows_show_one_board(page, address):
    one, other = page.context.new_page(), page.context.new_page()
    one.goto(address)
    expect(one).to_have_url(re.compile("#"))
    first = one.url
    one.click("#file-menu summary")
    one.get_by_role("button", name="two subjects").click()
    expect(one).not_to_have_url(first)
    visit(other, one.url)
    before = one.url
    one.fill("#prompt", "a red disc and a purple moon")
    expect(other.locator("#prompt")).to_have_value("a red disc and a purple moon")
    other.click("#file-menu summary")
    other.click("#delete-board")
    other.get_by_role("button", name="Delete", exact=True).last.click()
    expect(one.locator("#say")).to_have_text("this board was deleted in another window")
    one.fill("#prompt", "what is drawn here is kept")
    expect(one.locator("#say")).to_contain_text("what you drew is kept as a new one")
    expect(one.locator("#saved")).to_have_text("saved")
    assert one.url != before
    one.close()
    other.close()
