"""The approval form in JupyterLab: a click only records the approval; the next cell checks it."""

import ipywidgets

from cutover import errors
from cutover.run import approval
from cutover.ui import tables


def form(engine, why: str):
    """A text field, a button and what became of it. Without a browser it shows as text and can do nothing."""
    wanted = approval.confirmation(engine.step, engine.site)
    plan_hash = engine.hash()
    said = ipywidgets.Output()
    typed = ipywidgets.Text(placeholder=f"type {wanted}", layout={"width": "28em"})
    button = ipywidgets.Button(description="Approve this plan", button_style="", icon="check")

    def give(_):
        said.clear_output()
        with said:
            try:
                given = approval.give(engine.run, engine.site, engine.step, plan_hash, typed.value)
            except errors.CutoverError as error:
                print(error)
            else:
                button.disabled = typed.disabled = True
                print(f"Approved: plan {given.hash[:16]}, by {given.by}, {given.time}. Run the next cell.")

    button.on_click(give)
    label = ipywidgets.HTML(tables.Text(f"{why}\nTo approve plan {plan_hash[:16]}, type: {wanted}", True)._repr_html_())
    return ipywidgets.VBox([label, ipywidgets.HBox([typed, button]), said])
