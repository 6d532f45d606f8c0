"""Views that keep themselves up to date in JupyterLab, and are plain HTML everywhere else.

A view is drawn from files of the run's folder by a function. In a browser an ipywidget shows it and a thread of the kernel
draws it again while it changes, so a tab that was closed and opened again shows the present. Without a browser, in an
executed copy or on paper, the same drawing stands there as HTML, as it was when the cell ran.
"""

import threading

from cutover import errors
from cutover.ui import tables

EVERY = 1.0         # seconds between drawings
VIEW = "application/vnd.jupyter.widget-view+json"


class View:
    """`draw()` → something with `_repr_html_` and a text. `over()`, when given, says that it will change no more."""

    def __init__(self, draw, over=lambda: False, every=EVERY):
        self.draw, self.over, self.every = draw, over, every
        self.widget = None
        self._stop = threading.Event()

    def _repr_mimebundle_(self, include=None, exclude=None):
        shown = _drawn(self.draw)
        data = {"text/plain": repr(shown), "text/html": shown._repr_html_()}
        widget = self._widget(data["text/html"])
        if widget is not None:
            data[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        return data

    def _widget(self, text):
        """The widget, with the thread that feeds it; None where there is no kernel to carry it."""
        if not in_kernel():
            return None
        if self.widget is None:
            import ipywidgets

            self.widget = ipywidgets.HTML(text)
            threading.Thread(target=self._follow, daemon=True, name="cutover view").start()
        return self.widget

    def _follow(self):
        while not self._stop.wait(self.every):
            text = _drawn(self.draw)._repr_html_()
            if text != self.widget.value:
                self.widget.value = text
            if self.over():
                return

    def stop(self):
        self._stop.set()


def _drawn(draw):
    try:
        return draw()
    except (errors.CutoverError, OSError, ValueError, KeyError) as error:
        return tables.Text(f"cannot be shown: {type(error).__name__}: {error}")


def in_kernel() -> bool:
    """Whether this process is a Jupyter kernel: elsewhere widgets have nobody to talk to."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")
