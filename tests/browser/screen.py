"""What an operator does in JupyterLab, as verbs.

Open a notebook, run a cell, read what it says, type, click.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml
from cutover import site
from cutover.record import run_folder

PICTURES = site.PROJECT / "runs" / "pictures"  # artefacts of the last run of these tests
CELLS = {
    name: number
    for number, name in enumerate(
        ("parameters", "open", "probe", "plan", "approve", "apply", "verify")
    )
}
BOARD = {
    name: number
    for number, name in enumerate(
        ("parameters", "open", "steps", "outage", "gates", "ahead", "progress", "world")
        + ("morning", "timeline", "log")
    )
}
# seconds for anything that a page or a server does: beside other lanes, all of it takes long
PATIENCE = 180


class Server:
    """`cutover jupyter` on one run."""

    def __init__(self, base, run_dir, site_file, token):
        self.base, self.run_dir, self.site_file, self.token = base, Path(run_dir), site_file, token

    def url(self, notebook):
        return (
            f"{self.base}/lab/tree/by-hand/{notebook}?token={self.token}&reset"  # no tabs of before
        )

    def events(self):
        return run_folder.Run(self.run_dir).journal.events()

    def command(self, *arguments):
        """The command line at the same run, as in another terminal."""
        return subprocess.run(
            [sys.executable, "-m", "cutover", *arguments],
            cwd=site.PROJECT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=420,
        )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(place, name, changed):
    """A server on a new run of the lab's site with some keys changed."""
    values = yaml.safe_load((site.PROJECT / "parameters/lab.yaml").read_text())
    site_file, run_dir, log = (
        place / f"{name}.yaml",
        place / f"night-{name}-{os.getpid()}",
        place / f"{name}.log",
    )
    site_file.write_text(yaml.safe_dump({**values, **changed}, sort_keys=False))
    # an operator's own settings and workspaces of JupyterLab must not decide what a test sees
    environment = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(place / f"{name}-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(place / f"{name}-workspaces"),
    }
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cutover",
                "jupyter",
                "--site",
                str(site_file),
                "--run",
                str(run_dir),
                "--port",
                str(free_port()),
            ],
            cwd=site.PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while "is running at" not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        base, token = re.search(
            r"open (http://127\.0\.0\.1:\d+)/lab/tree/\S+\?token=(\S+)", log.read_text()
        ).groups()
        yield Server(base, run_dir, site_file, token)
    finally:
        # it asks for a confirmation on the first interrupt; its kernels end with it
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


class Screen:
    """One browser tab."""

    def __init__(self, context):
        self.context, self.asked_elsewhere = context, []
        self.tab = None
        self.count = 0  # what the kernel counted last

    def open(self, server, notebook):
        """Open a notebook and wait until its kernel can be asked."""
        if self.tab is None:
            self.tab = self.context.new_page()
            self.tab.set_default_timeout(PATIENCE * 1000)
            self.tab.on("request", self._note)
        self.tab.goto(server.url(notebook))
        self.panel = self.tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").first
        self.ready()

    def _note(self, request):
        if not re.match(r"(http://127\.0\.0\.1:|ws://127\.0\.0\.1:|data:|blob:)", request.url):
            self.asked_elsewhere.append(request.url)

    def ready(self):
        """Until the kernel answers: a key pressed before that is lost.

        The first cell only sets parameters.
        """
        self.panel.locator(".jp-CodeCell").first.wait_for()
        self.panel.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        before, deadline, pressed = self.prompt(0), time.monotonic() + PATIENCE, 0.0
        while not re.fullmatch(r"\[\d+\]:", self.prompt(0)) or self.prompt(0) == before:
            self._not_after(deadline, "no kernel answers")
            if time.monotonic() - pressed > 2.5:
                self.start(0)
                pressed = time.monotonic()
            self.tab.wait_for_timeout(100)
        self.count = int(self.prompt(0)[1:-2])

    def prompt(self, number):
        return self.cell(number).locator(".jp-InputPrompt").inner_text()

    def close(self):
        """Close the tab, as one does."""
        self.tab.close()
        self.tab = None

    def save(self, server, notebook, text):
        """Save the notebook until its file has some text: a key may be lost, as in a widget."""
        path, deadline = server.run_dir / "by-hand" / notebook, time.monotonic() + PATIENCE
        while text not in path.read_text():
            self._not_after(deadline, f"{notebook} was not saved with {text!r} in it")
            self.cell(0).locator(".jp-InputPrompt").click()
            self.tab.keyboard.press("Control+s")
            self.tab.wait_for_timeout(2500)

    def cell(self, number):
        return self.panel.locator(".jp-CodeCell").nth(number)

    def start(self, number):
        """Shift+Enter in a cell."""
        dialog = self.tab.locator("dialog.jp-Dialog")
        if dialog.count():
            text = dialog.first.inner_text()
            if not text.startswith("Kernel Terminating"):
                self._not_after(0, f"JupyterLab asks: {text}")
            # the kernel of the page before was still ending when a key was pressed
            dialog.first.locator(".jp-mod-accept").click()
        cell = self.cell(number)
        cell.locator(".jp-InputPrompt").click()
        self.tab.keyboard.press("Shift+Enter")

    def run(self, number):
        """Run a cell to its end. → what stands below it."""
        if number and self.prompt(number) == f"[{self.count + 1}]:":
            self.run(
                0
            )  # a new kernel counts as the one before did: then nothing would be seen to change
        before = self.prompt(number)
        self.start(number)
        deadline = time.monotonic() + PATIENCE
        while True:
            prompt = self.prompt(number)
            if re.fullmatch(r"\[\d+\]:", prompt) and prompt != before:
                self.count = int(prompt[1:-2])
                return self.shown(number)
            self._not_after(deadline, f"cell {number} did not end: {self.shown(number)}")
            time.sleep(0.1)

    def shown(self, number):
        area = self.cell(number).locator(".jp-OutputArea").first
        return area.inner_text() if area.count() else ""

    def until(self, number, text):
        """Wait until a text stands below a cell."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown(number):
            self._not_after(deadline, f"{text!r} did not appear in {self.shown(number)!r}")
            time.sleep(0.1)
        return self.shown(number)

    def fill(self, number, value, text):
        """Type into a cell's first field until a text stands below: a widget may lose a key."""
        field, deadline = (
            self.cell(number).locator("input[type=text]").first,
            time.monotonic() + PATIENCE,
        )
        while text not in self.shown(number):
            self._not_after(deadline, f"{value!r} did not bring {text!r}: {self.shown(number)!r}")
            field.fill("")
            field.fill(value)
            self.tab.wait_for_timeout(2500)

    def _not_after(self, deadline, what):
        if time.monotonic() > deadline:
            PICTURES.mkdir(parents=True, exist_ok=True)
            self.tab.screenshot(path=PICTURES / "failure.png")
            raise AssertionError(what)

    def picture(self, name, cell=None, width=1280, height=1000):
        """Keep a screenshot, of the window with a cell's heading on top."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.tab.set_viewport_size({"width": width, "height": height})
        if cell is not None:
            self.cell(cell).evaluate("node => node.scrollIntoView({block: 'start'})")
        self.tab.wait_for_timeout(400)
        self.tab.screenshot(path=PICTURES / f"{name}.png")
        self.tab.set_viewport_size({"width": 1280, "height": 1000})

    def plain(self):
        """Hide the file browser, as on a small screen."""
        self.tab.keyboard.press("Escape")
        self.tab.keyboard.press("Control+b")

    def dark(self, server):
        """The dark theme, from the next opening on."""
        plugin = "@jupyterlab/apputils-extension:themes"
        answer = self.tab.request.put(
            f"{server.base}/lab/api/settings/{plugin}?token={server.token}",
            data=json.dumps({"raw": json.dumps({"theme": "JupyterLab Dark"})}),
        )
        assert answer.ok, answer.text()

    def shut_down(self, server):
        """End every kernel, as when JupyterLab was started anew."""
        sessions = self.context.request.get(
            f"{server.base}/api/sessions?token={server.token}"
        ).json()
        for session in sessions:
            answer = self.context.request.delete(
                f"{server.base}/api/sessions/{session['id']}?token={server.token}"
            )
            assert answer.ok, answer.text()
        return len(sessions)


class Slowed:
    """Slows a run's converter down or stops it, so that there is something to watch."""

    def __init__(self, run_name, work=0.012, rest=0.25):
        self.run_name, self.work, self.rest = run_name.encode(), work, rest
        self._over, self._paused = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.let_go()

    def pause(self):
        self._paused.set()

    def go_on(self):
        self._paused.clear()

    def let_go(self):
        self._over.set()
        self._thread.join()
        self._signal(signal.SIGCONT)

    def _loop(self):
        while not self._over.is_set():
            self._signal(signal.SIGSTOP)
            self._over.wait(self.rest)
            if not self._paused.is_set():
                self._signal(signal.SIGCONT)
                self._over.wait(self.work)

    def _signal(self, number):
        """Send a signal to the workers of this run's converter.

        Not to the converter itself: if it stops, the sudo that started it stops too, for good.
        """
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                    if (
                        command[0].endswith(b"python3")
                        and b"convert-users" in command
                        and any(self.run_name in part for part in command)
                    ):
                        parents[int(entry.name)] = int(
                            (entry / "stat").read_text().rpartition(")")[2].split()[1]
                        )
        for pid, parent in parents.items():
            if parent in parents:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)


def users_done(server, step="convert"):
    """How many users the run's own events say are done."""
    return sum(event["event"] == "published" for event in progress(server, step))


def saved(server, notebook, text):
    """Wait until JupyterLab has saved a notebook with some text in it."""
    path, deadline = server.run_dir / "by-hand" / notebook, time.monotonic() + PATIENCE
    while text not in path.read_text():
        assert time.monotonic() < deadline, f"{notebook} was not saved with {text!r} in it"
        time.sleep(0.1)


def progress(server, step="convert"):
    """The events of a step so far, as the run's folder has them."""
    path = server.run_dir / "transcripts" / f"{step}.events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
