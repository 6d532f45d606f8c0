"""The approval form in JupyterLab: a click only records the approval; the next cell checks it."""

from cutover.model import errors
from cutover.notebook import live
from cutover.record import approval
from cutover.report import tables


class Form:
    """What to read and to type; with a field and a button in a browser."""

    def __init__(self, engine, why: str):
        self.engine, self.why = engine, why
        self.hash, self.wanted = (
            engine.hash(),
            engine.step.confirmation(engine.site, engine.context.chosen),
        )

    def static(self):
        step, changes = self.engine.step, self.engine.current.changes
        hosts = sorted({name for change in changes for name in change.target.split(", ")})
        return tables.Stack(
            tables.Banner(
                "begun",
                f"{step.id} waits for an approval: {tables.count(len(changes), 'change')} on "
                + ", ".join(hosts),
            ),
            tables.Table(
                ["", ""],
                [
                    ["plan", self.hash],
                    ["to approve, type", self.wanted],
                    ["people needed", step.signers],
                    [
                        "can be undone",
                        "yes" if step.reversible else "NO: this is the point of no return",
                    ],
                ],
            ),
            tables.Text(self.why),
        )

    def __repr__(self):
        return repr(self.static())

    def _repr_html_(self):
        return self.static()._repr_html_()

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if live.in_kernel():
            data[live.VIEW] = live.view(self.widget())
        return data

    def widget(self):
        import ipywidgets

        result = ipywidgets.HTML()
        wide = {"width": "26em"}
        typed = ipywidgets.Text(placeholder=f"type {self.wanted}", layout=wide)
        key = ipywidgets.Text(placeholder="signing key file; empty: ssh-agent", layout=wide)
        button = ipywidgets.Button(
            description="Approve this plan", icon="check", layout={"width": "auto"}
        )

        def give(_):
            try:
                given = approval.give(
                    self.engine.run,
                    self.engine.site,
                    self.engine.step,
                    self.hash,
                    typed.value,
                    key.value.strip() or None,
                )
            except (errors.CutoverError, OSError) as error:
                result.value = tables.Banner("FAIL", f"Not approved. {error}")._repr_html_()
                return
            typed.value = key.value = ""
            left = self.engine.step.signers - 1
            result.value = tables.Banner(
                "passed",
                f"Signed: plan {given.hash[:16]}, by {given.by}, {given.time[11:19]} UTC. "
                + (f"{tables.count(left, 'other person')} must sign as well. " if left > 0 else "")
                + "Then run the next cell: it checks the signature.",
            )._repr_html_()

        button.on_click(give)
        row = ipywidgets.HBox([typed, key, button], layout={"flex_flow": "row wrap"})
        return ipywidgets.VBox([ipywidgets.HTML(self._repr_html_()), row, result])


def form(engine, why: str) -> Form:
    return Form(engine, why)
