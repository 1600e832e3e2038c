"""The seed's step 4 by hand: a real browser in Payload's admin, from the first user to a post that shows its image.

Screenshots of what it saw are kept in build/browser.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from settings import ROOT
from tests.clients.conftest import migrated_payload, served_payload
from tests.clients.test_payload import image
from tests.integration.built import built_platform
from tests.required import not_here

KEPT = ROOT / "build/browser"
SECONDS = 60
"""How long a page may take to show what is looked for."""
ACCOUNT = {
    "email": "editor@example.com",
    "password": "a-password-for-tests",
    "confirm-password": "a-password-for-tests",
    "name": "Ada Editor",
}
AUTOSAVE_SECONDS = 2
"""More than Payload takes to save what was typed last: it begins after 0.1 s (the collections' `interval`)."""
SAVE = "#action-save"
"""Of a collection with drafts it publishes."""


class Admin:
    """Payload's admin in a browser, as an editor uses it: by what is on the screen."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.url = browser, url
        ignored = (NoSuchElementException, StaleElementReferenceException, ElementClickInterceptedException)
        self._wait = WebDriverWait(browser, SECONDS, ignored_exceptions=ignored)

    def _until(self, found: Callable[[webdriver.Chrome], Any], what: str) -> Any:
        try:
            return self._wait.until(found)
        except TimeoutException:
            self.keep("failed")
            pytest.fail(f"{what} at {self.browser.current_url}")

    def open(self, path: str) -> None:
        self.browser.get(f"{self.url}/admin{path}")

    def see(self, selector: str, text: str = "") -> WebElement:
        """The first element that the selector finds with that text in it."""

        def found(browser: webdriver.Chrome) -> WebElement | None:
            elements = browser.find_elements(By.CSS_SELECTOR, selector)
            return next((e for e in elements if e.is_displayed() and text in e.text), None)

        element: WebElement = self._until(found, f"{selector} {text!r} is not shown")
        return element

    def click(self, selector: str, text: str = "") -> None:
        """Clicks it as soon as nothing covers it."""

        def clicked(_: webdriver.Chrome) -> bool:
            element = self.see(selector, text)
            if element.is_enabled():
                element.click()
                return True
            return False

        self._until(clicked, f"{selector} {text!r} cannot be clicked")

    def fill(self, **fields: str) -> None:
        """Types into the fields of the form, by name."""
        for name, value in fields.items():
            self.see(f"#field-{name}").send_keys(value)

    def save(self) -> None:
        self.click(SAVE)
        self.see(".payload-toast-item.toast-success", "successfully")

    def publish(self) -> None:
        """Publishes a draft, as soon as it was saved by itself: Payload drops a click that meets its first autosave.

        One that meets a later autosave is published without what that saves, and then has changes to publish.
        """
        self._until(lambda browser: not browser.current_url.endswith("/create"), "the draft was not saved")

        def status() -> str:
            return self.browser.find_element(By.CSS_SELECTOR, ".status__value").text

        def published(browser: webdriver.Chrome) -> bool:
            button = browser.find_element(By.CSS_SELECTOR, SAVE)
            if status() != "Published":
                if button.is_enabled():  # it stays disabled once a click was enough
                    button.click()
                return False
            time.sleep(AUTOSAVE_SECONDS)
            return status() == "Published"

        self._until(published, "the draft was not published")

    def keep(self, name: str) -> None:
        """A screenshot."""
        KEPT.mkdir(parents=True, exist_ok=True)
        assert self.browser.save_screenshot(str(KEPT / f"{name}.png"))


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Those of a Payload without users, on a platform of its own, and of its media."""
    with built_platform(extras=True) as platform:
        payload = migrated_payload(platform)
        with served_payload(payload, tmp_path_factory.mktemp("payload") / "log") as (url, _):
            yield url, payload.env["CDN_BASE_URL"]


@pytest.fixture(scope="module")
def admin(addresses: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """Chromium without a window; as root it has no sandbox."""
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        not_here("chromium and chromedriver (Debian: chromium-driver) are not on this machine", "REQUIRE_CLIENTS")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile = tmp_path_factory.mktemp("profile")
    for switch in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,1000"):
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={profile}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as browser:
        yield Admin(browser, addresses[0])


@pytest.mark.timeout(600)
def test_an_editor_publishes_a_page_and_a_post_with_an_image(
    admin: Admin, addresses: tuple[str, str], tmp_path: Path
) -> None:
    url, cdn = addresses
    admin.open("")
    admin.fill(**ACCOUNT)
    admin.click("form button[type=submit]")
    admin.see(".dashboard")

    admin.open("/collections/pages/create")
    admin.fill(title="By hand")
    admin.click(".blocks-field__drawer-toggler")
    admin.click(".blocks-drawer__block button", "Cta")
    admin.fill(layout__0__heading="Join")
    admin.publish()
    admin.keep("page")

    picture = tmp_path / "by hand.jpg"
    picture.write_bytes(image())
    admin.open("/collections/media/create")
    admin.browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(picture))
    admin.fill(alt="By hand")
    admin.save()
    shown = admin.see(".file-details img")
    assert str(shown.get_attribute("src")).startswith(cdn)
    assert int(str(shown.get_property("naturalWidth"))) == 300, "the browser has the image"
    admin.keep("media")

    admin.open("/collections/posts/create")
    admin.fill(title="With an image")
    admin.click("#field-heroImage button", "Choose from existing")
    admin.click(".drawer__content .cell-filename button")
    admin.see("#field-heroImage", "by hand")
    admin.publish()
    admin.keep("post")

    public = httpx.Client(base_url=f"{url}/api", timeout=60)
    (page,) = public.get("/pages").json()["docs"]
    assert (page["title"], [block["heading"] for block in page["layout"]]) == ("By hand", ["Join"])
    (post,) = public.get("/posts").json()["docs"]
    assert post["heroImage"]["alt"] == "By hand"
