"""The web demo by keyboard, by screen reader, on small and large screens, and as an installed application."""

import pytest
from browser_material import SAMPLES, chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from seg_demo.site import WEB_DIRECTORY

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

#: (width, height) in CSS pixels, and whether it is a phone.
SCREENS = {
    "small": ((320, 568), True),
    "phone": ((412, 915), True),
    "phone-on-its-side": ((740, 360), True),
    "desktop": ((1280, 800), False),
}

#: What has the focus, and whether it can be seen: [name, visible].
FOCUSED = """
const focused = document.activeElement;
const shown = focused.classList.contains('file')
  ? document.querySelector(`label[for="${focused.id}"]`) : focused.closest('label') ?? focused;
const { left, top, width, height } = shown.getBoundingClientRect();
const hit = document.elementFromPoint(left + width / 2, top + height / 2);
const visible = hit !== null && (shown.contains(hit) || hit.contains(shown));
return [focused.id || focused.value || focused.textContent.trim(), visible];
"""


def press(page, *keys):
    actions = ActionChains(page.driver)
    for key in keys[:-1]:
        actions.key_down(key)
    actions.send_keys(keys[-1])
    for key in keys[:-1]:
        actions.key_up(key)
    actions.perform()


def walk(page, *keys, last):
    """Press `keys` until `last` has the focus; returns what had it on the way, all of which could be seen."""
    order = []
    for _ in range(80):
        press(page, *keys)
        name, visible = page.run(FOCUSED)
        assert visible, f"{name} has the focus and lies under something"
        order.append(name)
        if name == last:
            return order
    raise AssertionError(f"{last} was never reached: {order}")


def test_keyboard_reaches_everything_in_the_order_of_the_page(onnx_url):
    with chromium(phone=True) as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "astronaut.png")
        page.wait("return !document.getElementById('install').hidden")
        page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        names = page.run("return segproof.engine.manifest.labels.names")
        order = walk(page, Keys.TAB, last="backend")
        assert order == [
            "Skip to the controls", "install", "stage", "camera", "photo-file", "video-file", "save", "overlay",
            "opacity", "region", "zoom", "Classes", "all", "none", *["on"] * len(names), "About this run", "backend",
        ]  # fmt: skip
        assert walk(page, Keys.SHIFT, Keys.TAB, last="Skip to the controls") == order[-2::-1]
        press(page, Keys.ENTER)
        assert walk(page, Keys.TAB, last="camera") == ["camera"]


def test_keyboard_works_every_control(onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "astronaut.png")
        walk(page, Keys.TAB, last="overlay")
        for mode in ("blur", "replace", "recolour"):
            press(page, Keys.ARROW_RIGHT)
            assert page.run("return segproof.look.mode") == mode
        walk(page, Keys.TAB, last="strength")
        press(page, Keys.HOME)
        assert page.run("return segproof.look.strength") == 0
        walk(page, Keys.TAB, last="zoom")
        press(page, Keys.END)
        page.idle()
        assert page.labelled()[2][2:] == (128, 128)
        walk(page, Keys.TAB, last="Classes")
        press(page, Keys.ENTER)
        walk(page, Keys.TAB, last="on")
        press(page, Keys.SPACE)
        classes = page.run("return segproof.engine.manifest.labels.names.length")
        assert page.run("return [...segproof.look.shown]") == list(range(1, classes))


def test_a_screen_reader_is_told_what_there_is_and_what_happens(onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        assert page.status.startswith("Ready on ")
        page.choose_photo(SAMPLES / "astronaut.png")
        said = page.run("return document.getElementById('status').textContent")
        assert said.startswith("Found background ")
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        tree = [node for node in tree if not node["ignored"]]
        named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree}
        assert {
            ("main", ""), ("heading", "segproof"), ("region", "Picture"), ("region", "Controls"), ("group", "Source"),
            ("group", "Show"), ("image", said), ("button", "Camera"), ("button", "Save"), ("radio", "Recolour"),
            ("slider", "Opacity"), ("slider", "Zoom"), ("combobox", "Network sees"),
        } <= named  # fmt: skip
        live = {node["role"]["value"]: prop["value"]["value"] for node in tree for prop in node.get("properties", [])
                if prop["name"] == "live"}  # fmt: skip
        assert live["status"] == "polite"
        page.find("camera").click()  # there is none
        page.wait("return !document.getElementById('problem').hidden")
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        assert "alert" in {node["role"]["value"] for node in tree if not node["ignored"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(onnx_url, scheme):
    """Names, roles, landmarks, contrast and more: the rules of axe-core, in every mode and in both colour schemes."""
    axe = WEB_DIRECTORY / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip(f"needs  npm ci --prefix {WEB_DIRECTORY}")
    with chromium(phone=True) as page:
        # Without motion no colour is met half-way.
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        page.open(onnx_url)
        page.run(axe.read_text(encoding="utf-8"))

        def check(state):
            found = page.driver.execute_async_script("axe.run().then(arguments[0])")
            assert len(found["passes"]) > 20
            wrong = [(each["id"], [node["target"] for node in each["nodes"]]) for each in found["violations"]]
            assert wrong == [], state

        check("no picture")
        page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        page.choose_photo(SAMPLES / "obama.jpg")
        for mode in ("overlay", "blur", "replace", "recolour"):
            page.choose_mode(mode)
            check(mode)
        page.find("camera").click()
        page.wait("return !document.getElementById('problem').hidden")
        check("problem")


@pytest.mark.parametrize("name", SCREENS)
def test_small_and_large_screens(onnx_url, name):
    size_wh, phone = SCREENS[name]
    with chromium(size_wh=size_wh, phone=phone) as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "obama.jpg")
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(f"photo-{name}")
        # The picture is whole on the screen together with the first of the controls.
        for identity in ("stage", "camera"):
            top, bottom, height = page.run(
                "const { top, bottom } = document.getElementById(arguments[0]).getBoundingClientRect();"
                "return [top, bottom, innerHeight];", identity,
            )  # fmt: skip
            assert 0 <= top < bottom <= height, identity
        page.run("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        small = page.run(
            "return [...document.querySelectorAll('button, select, .button, summary, .legend label')]"
            ".filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.9)"
            ".map((each) => each.id || each.textContent)"
        )
        assert small == []
        cut = page.run(
            "return [...document.querySelectorAll('.legend .name')]"
            ".filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.textContent)"
        )
        assert cut == []


def test_the_page_can_be_installed(onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        assert page.driver.execute_cdp_cmd("Page.getInstallabilityErrors", {})["installabilityErrors"] == []
        page.wait("return !document.getElementById('install').hidden")  # Chromium has offered it
        page.wait("return navigator.serviceWorker.controller?.state === 'activated'")
        page.run(
            "const offer = new Event('beforeinstallprompt', { cancelable: true });"
            "offer.prompt = () => { globalThis.prompted = true; return Promise.resolve({ outcome: 'accepted' }); };"
            "window.dispatchEvent(offer); globalThis.prevented = offer.defaultPrevented;"
        )
        assert page.run("return prevented")
        page.find("install").click()
        page.wait("return globalThis.prompted && document.getElementById('install').hidden")
