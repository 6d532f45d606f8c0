"""JupyterLab's files.

Templates are read-only: operators run copies, and git shows no change. A notebook that is opened
without its kernel shows its last output.
"""

import os

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado import web
from traitlets import Bool

from cutover import site
from cutover.notebook import live

TEMPLATES = site.PROJECT / "notebooks"


class Contents(AsyncLargeFileManager):
    """Refuses to write below notebooks/ unless `edit_templates`."""

    edit_templates = Bool(False, config=True, help="let the templates be edited, for developers")

    def _guarded(self, path):
        full = os.path.realpath(self._get_os_path(path))
        return not self.edit_templates and (
            full == str(TEMPLATES) or full.startswith(f"{TEMPLATES}{os.sep}")
        )

    def _refuse(self, path):
        if self._guarded(path):
            raise web.HTTPError(
                403,
                f"{path} is a template and read-only. To work on a run: "
                "./cutover jupyter --site FILE. To edit templates: "
                "./cutover jupyter --edit-templates",
            )

    def _base_model(self, path):
        model = super()._base_model(path)
        if self._guarded(path):
            model["writable"] = False
        return model

    async def get(self, path, content=True, **options):
        model = await super().get(path, content=content, **options)
        if content and model["type"] == "notebook" and not await self._has_kernel(path):
            _without_views(model["content"])
        return model

    async def _has_kernel(self, path):
        return any(
            session["path"] == path.strip("/")
            for session in await self.parent.session_manager.list_sessions()
        )

    async def save(self, model, path=""):
        self._refuse(path)
        return await super().save(model, path)

    async def delete_file(self, path):
        self._refuse(path)
        return await super().delete_file(path)

    async def rename_file(self, old_path, new_path):
        self._refuse(old_path)
        self._refuse(new_path)
        return await super().rename_file(old_path, new_path)


def _without_views(notebook):
    """Remove the widgets of a kernel that is gone, so that their HTML shows instead of an error."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data.pop(live.VIEW, None)
