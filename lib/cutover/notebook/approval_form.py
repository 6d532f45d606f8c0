"""The approval forms in JupyterLab: a click only records the approval; the step checks it."""

from cutover import model
from cutover.model import errors
from cutover.notebook import live
from cutover.record import approval, approval_ahead, kept_plan, statement
from cutover.report import step_tables, tables
from cutover.run import plans_ahead
from cutover.steps import registry


class Approvable:
    """What to read and to type; with fields and a button in a browser."""

    def __repr__(self):
        return repr(self.static())

    def _repr_html_(self):
        return self.static()._repr_html_()

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if live.in_kernel():
            data[live.VIEW] = live.view(self.widget())
        return data


def _fields(wanted, label, give):
    """Two fields, a button and what it says. give(typed, key) signs, and returns what to say."""
    import ipywidgets

    result, wide = ipywidgets.HTML(), {"width": "26em"}
    typed = ipywidgets.Text(placeholder=f"type {wanted}", layout=wide)
    key = ipywidgets.Text(placeholder="signing key file; empty: ssh-agent", layout=wide)
    button = ipywidgets.Button(description=label, icon="check", layout={"width": "auto"})

    def click(_):
        try:
            given = give(typed.value, key.value.strip() or None)
        except (errors.CutoverError, OSError) as error:
            result.value = tables.Banner("FAIL", f"Not approved. {error}")._repr_html_()
            return
        typed.value = key.value = ""
        result.value = tables.Banner("passed", given)._repr_html_()

    button.on_click(click)
    row = ipywidgets.HBox([typed, key, button], layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([row, result])


class Form(Approvable):
    """The plan of a step that has just been made."""

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

    def widget(self):
        import ipywidgets

        fields = _fields(self.wanted, "Approve this plan", self._give)
        return ipywidgets.VBox([ipywidgets.HTML(self._repr_html_()), fields])

    def _give(self, typed, key):
        engine = self.engine
        given = approval.give(engine.run, engine.site, engine.step, self.hash, typed, key)
        left = engine.step.signers - 1
        return (
            f"Signed: plan {given.hash[:16]}, by {given.by}, {given.time[11:19]} UTC. "
            + (f"{tables.count(left, 'other person')} must sign as well. " if left > 0 else "")
            + "Then run the next cell: it checks the signature."
        )


class Ahead(Approvable):
    """The plans of the outage, worked out and approved before it begins.

    planned: the journal's event of the list that is shown; None before there is one.
    """

    def __init__(self, site, run):
        self.site, self.run = site, run
        self.planned = approval_ahead.latest(run.journal.events())

    def static(self):
        if self.planned is None:
            return tables.Text(
                "No plan of the outage has been worked out ahead. Here, in mode execute, or by "
                f"`./cutover approve --run {self.run.path} --ahead`."
            )
        events, rows = self.run.journal.events(), []
        for plan in self.planned["plans"]:
            standing = approval_ahead.standing(events, plan["step"])
            by = dict.fromkeys(item["by"] for item in standing if item["hash"] == plan["hash"])
            needed = registry.step(plan["step"]).signers
            rows.append([plan["step"], plan["hash"][:16], needed, ", ".join(by)])
        rows += [[plan["step"], "", "", f"asks: {plan['why']}"] for plan in self.planned["asked"]]
        listed = tables.Table(
            ["step", "plan", "people needed", "approved by"],
            rows,
            f"Worked out ahead, {self.planned['time'][11:19]} UTC: {self.planned['hash'][:16]}",
            f"to approve all of them, type {approval_ahead.confirmation(self.site)}",
        )
        return tables.Stack(listed, *map(self._plan, self.planned["plans"]))

    def _plan(self, plan):
        try:
            current = model.Plan(tuple(kept_plan.load(self.run, plan)))
        except statement.NotApproved as error:
            return tables.Banner("FAIL", str(error))
        return tables.Stack(
            tables.Text(
                f"{plan['step']}; every value that the hash binds: {self.run.path / plan['file']}"
            ),
            step_tables.plan(current, plan["hash"]),
        )

    def widget(self):
        import ipywidgets

        shown = ipywidgets.HTML(self._repr_html_())
        make = ipywidgets.Button(description="Work out the plans", layout={"width": "auto"})

        def give(typed, key):
            if self.planned is None:
                raise approval.NotConfirmed("there is no plan yet. Work them out and read them.")
            for plan in self.planned["plans"]:
                kept_plan.load(self.run, plan)  # what was shown is what the hash binds
            given = approval.give_ahead(self.run, self.site, self.planned, typed, key)
            shown.value = self._repr_html_()
            return f"Signed ahead: {tables.count(len(given), 'plan')}, by {given[0].by}."

        def work_out(_):
            make.disabled = True
            try:
                self.planned = plans_ahead.make(self.site, self.run)
                shown.value = self._repr_html_()
            except (errors.CutoverError, OSError) as error:
                shown.value = tables.Banner("FAIL", f"Not worked out. {error}")._repr_html_()
            finally:
                make.disabled = False

        make.on_click(work_out)
        fields = _fields(approval_ahead.confirmation(self.site), "Approve these plans ahead", give)
        return ipywidgets.VBox([shown, make, fields])


def form(engine, why: str) -> Form:
    return Form(engine, why)
