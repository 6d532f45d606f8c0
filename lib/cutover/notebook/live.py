"""Views that stay up to date in JupyterLab and are plain HTML everywhere else.

A function draws a view from files in the run's folder. In a browser an ipywidget shows it and a
thread of the kernel redraws it when it changes, so a reopened tab is up to date.
Without a browser, in an unattended run or on paper, the view is HTML, as it was when the cell ran.
"""

import threading
import time

from cutover.model import errors
from cutover.report import tables
from cutover.run import kernels

EVERY = 1.0  # seconds between drawings
VIEW = "application/vnd.jupyter.widget-view+json"
HEAD_START = 0.4  # seconds


class View:
    """What `draw()` returns (with `_repr_html_` and a text), kept up to date.

    linked: it contains links to notebooks. JupyterLab follows those only in an Output widget, which
    flickers when it changes. Anything else uses an HTML widget.
    """

    def __init__(self, draw, linked=False, every=EVERY):
        self.draw, self.linked, self.every = draw, linked, every
        self.widget = None
        self._over = threading.Event()

    def stop(self):
        """Draw a last time."""
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
        """The widget, with the thread that updates it."""
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
    """The part of a cell's output that names a widget.

    The browser gets the widget from the kernel's socket and the output from JupyterLab's server
    (jupyter-server-nbmodel). If the output comes first, the page shows "model not found" and keeps
    it. So the widget gets a head start.
    """
    time.sleep(HEAD_START)
    return {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}


def _drawn(draw):
    try:
        return draw()
    except (errors.CutoverError, OSError, ValueError, KeyError) as error:
        return tables.Text(f"cannot be shown: {type(error).__name__}: {error}")


def in_kernel() -> bool:
    """Whether this process is a Jupyter kernel that somebody may watch; widgets need one."""
    if kernels.here:
        return False
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")
