"""The table of checks; in JupyterLab it can be filtered."""

from cutover.notebook import live
from cutover.report import step_tables, tables

ALL, FAILED, WARNED = "all", "FAIL", "warn"
FEW = 6  # checks that need no filter


class Checks:
    """Checks that can be filtered in a browser. Elsewhere: the table.

    file: what has all of them, if they are too many for a table.
    """

    def __init__(self, listed, caption="", file=step_tables.JOURNAL):
        self.listed, self.caption, self.file = list(listed), caption, file

    def table(self, which=ALL, containing="") -> tables.Table:
        """The checks with a mark (or all) whose text contains `containing`; the note counts all."""
        part = containing.casefold()
        chosen = [
            check
            for check in self.listed
            if which in (ALL, check.mark)
            and part in " ".join((check.question, check.expected, check.actual)).casefold()
        ]
        shown = step_tables.checks(chosen, self.caption, self.file)
        shown.note = step_tables.checks(self.listed).note + (
            f"; {len(chosen)} shown" if len(chosen) < len(self.listed) else ""
        )
        return shown

    def __repr__(self):
        return repr(self.table())

    def _repr_html_(self):
        return self.table()._repr_html_()

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if len(self.listed) > FEW and live.in_kernel():
            data[live.VIEW] = live.view(self.widget())
        return data

    def widget(self):
        import ipywidgets

        counts = {
            mark: sum(check.mark == mark for check in self.listed) for mark in (FAILED, WARNED)
        }
        which = ipywidgets.ToggleButtons(
            options=[
                (f"all ({len(self.listed)})", ALL),
                *((f"{mark} ({number})", mark) for mark, number in counts.items()),
            ],
            value=FAILED if counts[FAILED] else ALL,
            style={"button_width": "110px"},
        )
        containing = ipywidgets.Text(
            placeholder="a user, a folder …", layout={"width": "16em"}, continuous_update=True
        )
        shown = ipywidgets.HTML()

        def draw(_=None):
            shown.value = self.table(which.value, containing.value)._repr_html_()

        which.observe(draw, "value")
        containing.observe(draw, "value")
        draw()
        row = ipywidgets.HBox([which, containing], layout={"flex_flow": "row wrap"})
        return ipywidgets.VBox([row, shown])
