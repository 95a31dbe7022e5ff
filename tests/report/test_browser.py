"""In a real browser the report's boxes keep what is typed, and the page can be saved with it."""

import json
import os
import shutil
import subprocess

import pytest
from command_line import succeed, write_flowers

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser is here, such as chromium"),
    pytest.mark.skipif(os.name != "posix", reason="no browser can be told by pipes on this system"),
]


class Browser:
    """Chromium without a window, told what to do through two pipes: messages of JSON, each ended by a zero byte."""

    def __init__(self, folder):
        (theirs_in, self.out), (self.back, theirs_out) = os.pipe(), os.pipe()

        def pipes():  # it reads from 3 and writes to 4
            one, other = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(one, 3)
            os.dup2(other, 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        self.process = subprocess.Popen(
            [BROWSER, *options, f"--user-data-dir={folder}"],
            preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self.count, self.rest, self.events, self.session = 0, b"", [], None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self("Page.enable")

    def read(self):
        while b"\0" not in self.rest:
            piece = os.read(self.back, 1 << 16)
            assert piece, "the browser has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def __call__(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session is not None and not method.startswith(("Browser", "Target")):
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, method, **wanted):
        """Until an event with these parameters has come."""
        while True:
            event = self.events.pop(0) if self.events else self.read()
            if event.get("method") == method and wanted.items() <= event["params"].items():
                return event["params"]

    def go(self, method, **parameters):
        self.events.clear()
        self(method, **parameters)
        self.wait("Page.loadEventFired")

    def run(self, script):
        result = self("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def type(self, box, text):
        self.run(f"document.getElementById('{box}').focus(); getSelection().selectAllChildren(document.activeElement)")
        self("Input.insertText", text=text)

    def text(self, box):
        return self.run(f"document.getElementById('{box}').innerText")

    def close(self):
        self("Browser.close")
        self.process.wait(60)
        os.close(self.out)
        os.close(self.back)


@pytest.fixture
def browser(tmp_path):
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("typst", reason="typst is not installed")
    data = write_flowers(tmp_path)
    succeed("train", data, "--epochs", 2, "--hidden", 8, "--out", tmp_path / "run")
    succeed("report", tmp_path / "run")
    return tmp_path / "run"


TYPED = "Fifty <b>hours</b> & more."


def test_what_is_typed_is_there_after_a_reload_and_in_the_saved_page(browser, folder, tmp_path):
    page = (folder / "report.html").as_uri()
    browser.go("Page.navigate", url=page)
    draft = browser.text("discussion")
    assert "validation rows right" in draft
    browser.type("hours", TYPED)
    browser.type("byline", "A. Student")
    browser.go("Page.reload")
    assert browser.text("hours") == TYPED
    assert browser.text("byline") == "A. Student"
    assert browser.text("discussion") == draft
    assert browser.run("document.querySelectorAll('.answer b').length") == 0  # text, not markup

    browser("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"), eventsEnabled=True)
    browser.run("document.querySelector('.tools button').click()")
    browser.wait("Browser.downloadProgress", state="completed")
    saved = tmp_path / "saved" / "report.html"
    assert "Fifty &lt;b&gt;hours" in saved.read_text(encoding="utf-8")
    browser.go("Page.navigate", url=saved.as_uri())
    assert browser.text("hours") == TYPED
    assert browser.run("document.querySelectorAll('.tools').length") == 1
    browser.type("hours", "Sixty.")  # and it can be gone on with
    browser.go("Page.reload")
    assert browser.text("hours") == "Sixty."


def test_a_report_written_anew_is_shown_as_it_is(browser, folder):
    page = (folder / "report.html").as_uri()
    browser.go("Page.navigate", url=page)
    browser.type("discussion", "Mine.")
    (folder / "new.toml").write_text("discussion = 'Newer.'\n[debriefing]\nhours = 3")
    succeed("report", folder, "--answers", folder / "new.toml")
    browser.go("Page.reload")
    assert browser.text("discussion") == "Newer."
    assert browser.text("hours") == "3"


def test_formulas_stand_on_the_line_and_need_no_font(browser, folder):
    browser.go("Page.navigate", url=(folder / "report.html").as_uri())
    sizes = browser.run("[...document.querySelectorAll('.drawn svg')].map(svg => [svg.clientWidth, svg.clientHeight])")
    assert len(sizes) > 50
    assert all(width > 3 and height > 3 for width, height in sizes)
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
