"""Execute the notebook templates in explain mode and keep them clean: `python
tests/refresh_notebooks.py [NAME …]`.

A template keeps the outputs of explain mode, so that it reads well where it is only looked at; of
metadata it keeps the kernel's name, the language and the cells' tags. Run it after a change of what
a step or a table shows. With --check nothing is written, and the exit status is 1 when a template
is not as this would leave it.
"""

import sys
import tempfile

import nbclient
import nbformat
from cutover import site

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def clean(notebook):
    """What stays of a notebook's metadata; texts of outputs in one form."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output["metadata"] = nbformat.from_dict({})
    return notebook


def executed(path):
    """A template as it should be."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="cutover-") as sockets:
        client = nbclient.NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(site.PROJECT)}},
        )
        client.km = client.create_kernel_manager()
        client.km.transport, client.km.ip = "ipc", f"{sockets}/kernel"
        client.execute()
    return nbformat.writes(clean(notebook)) + "\n"


def main(arguments):
    check, changed = "--check" in arguments, []
    names = [name for name in arguments if not name.startswith("-")]
    for path in sorted((site.PROJECT / "notebooks").glob("*.ipynb")):
        if names and not any(name in path.name for name in names):
            continue
        text = executed(path)
        if text != path.read_text():
            changed.append(path.name)
            if not check:
                path.write_text(text)
    print(f"{'not as executed' if check else 'written anew'}: {', '.join(changed) or 'none'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
