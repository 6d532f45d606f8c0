"""What plots are made of: a figure in the house style, and the words that go with it.

matplotlib is imported when a plot is drawn: it takes half a second, and most calls need none. A
plot is the same, byte for byte, for the same figures.
"""

import base64
import html
import io

from cutover.report import tables
from cutover.run import outage

WIDTH = 8.2  # inches
# distinct for the colour-blind, and in grey
OLD, NEW, QUIET = "#3b6ea5", "#e08e2b", "#b9bfc8"
WINDOW_COLOURS = {outage.READING: "#c2477f", outage.DELIVERY: "#5b8c3e"}
WINDOW_NAMES = {outage.READING: "reading refused", outage.DELIVERY: "delivery held"}
NEW_EDGE = "#7a4a10"
GRID = "#ddd"


class Plot:
    """A drawing and what it says in words. `svg` is text."""

    def __init__(self, svg: str, title: str, text: str):
        self.svg, self.title, self.text = svg, title, text

    def _repr_html_(self):
        data = base64.b64encode(self.svg.encode()).decode()
        words = html.escape(f"{self.title}: {self.text}", quote=True)
        # an image, not inline markup: nothing in it can run, and ids of two drawings never meet
        return (
            f"<figure style='margin:.6em 0'><img alt='{words}' "
            f"src='data:image/svg+xml;base64,{data}' "
            "style='max-width:100%;background:#fff;border-radius:4px'>"
            f"<figcaption style='font-size:13px'><b>{html.escape(self.title)}.</b> "
            f"{html.escape(self.text)}</figcaption></figure>"
        )

    def __repr__(self):
        return f"{self.title}. {self.text}"


class Drawing:
    """A figure in the house style, drawn without any display; a context manager.

    height: inches. The other arguments are those of matplotlib's Figure.subplots.
    """

    def __init__(self, height: float, **subplots):
        import matplotlib

        self.style = matplotlib.rc_context(
            {
                "font.size": 9,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.edgecolor": "#555",
                "axes.labelcolor": "#222",
                "xtick.color": "#222",
                "ytick.color": "#222",
                "hatch.linewidth": 0.6,
                "svg.hashsalt": "cutover",
                "svg.fonttype": "path",
                "font.family": "DejaVu Sans",
            }
        )
        self.height, self.subplots = height, subplots

    def __enter__(self):
        from matplotlib.figure import Figure

        self.style.__enter__()
        self.figure = Figure(figsize=(WIDTH, self.height), layout="constrained")
        self.axes = self.figure.subplots(**self.subplots)
        return self

    def __exit__(self, *error):
        self.style.__exit__(*error)

    def svg(self) -> str:
        out = io.StringIO()
        self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()


def grid(axes, axis: str) -> None:
    """Quiet lines behind the bars."""
    axes.grid(axis=axis, color=GRID, lw=0.6)
    axes.set_axisbelow(True)


def new_style(**style) -> dict:
    """The style of bars for the new side: hatched, so that it differs in grey too."""
    return {"color": NEW, "hatch": "///", "edgecolor": NEW_EDGE, "lw": 0.3, **style}


def clean(text: str) -> str:
    """A name as a font can draw it: no control characters, no raw bytes, no mathematics."""
    return tables.printable(text).replace("$", r"\$")
