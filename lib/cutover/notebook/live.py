"""Views that keep themselves up to date in JupyterLab, and are plain HTML everywhere else.

A view is drawn from files of the run's folder by a function. In a browser an ipywidget shows it and a thread of the kernel
draws it again while it changes, so a tab that was closed and opened again shows the present. Without a browser, in an
executed copy or on paper, the same drawing stands there as HTML, as it was when the cell ran.
"""

import threading
import time

from cutover.model import errors
from cutover.report import tables

EVERY = 1.0  # seconds between drawings
VIEW = "application/vnd.jupyter.widget-view+json"
HEAD_START = 0.4  # seconds


class View:
    """`draw()` → something with `_repr_html_` and a text. `linked`: it holds links to notebooks.

    Links lead to a notebook in JupyterLab only in what its own renderer shows, so a drawing with links goes through an
    Output widget. That flickers when it changes; what ticks goes through an HTML widget.
    """

    def __init__(self, draw, linked=False, every=EVERY):
        self.draw, self.linked, self.every = draw, linked, every
        self.widget = None
        self._over = threading.Event()

    def stop(self):
        """Draw a last time, and no more."""
        self._over.set()
        if self.widget is not None:
            self._put(_drawn(self.draw))

    def _repr_mimebundle_(self, include=None, exclude=None):
        shown = _drawn(self.draw)
        data = {"text/plain": repr(shown), "text/html": shown._repr_html_()}
        if in_kernel():
            data[VIEW] = view(self._widget(shown))
        return data

    def _widget(self, shown):
        """The widget, with the thread that feeds it."""
        if self.widget is None:
            import ipywidgets

            self.widget = ipywidgets.Output() if self.linked else ipywidgets.HTML()
            self._put(shown)
            threading.Thread(target=self._follow, daemon=True, name="cutover view").start()
        return self.widget

    def _put(self, shown):
        if self.linked:
            self.widget.outputs = (
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"text/html": shown._repr_html_(), "text/plain": repr(shown)},
                },
            )
        else:
            self.widget.value = shown._repr_html_()

    def _follow(self):
        last = None
        while not self._over.wait(self.every):
            shown = _drawn(self.draw)
            if shown._repr_html_() != last:
                last = shown._repr_html_()
                self._put(shown)


def view(widget) -> dict:
    """What a cell's output says of a widget.

    The widget itself comes to the browser by the kernel's socket, the output by JupyterLab's server (jupyter-server-nbmodel).
    A page that gets the output first shows "model not found", and keeps it: the widget is given a head start.
    """
    time.sleep(HEAD_START)
    return {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}


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
