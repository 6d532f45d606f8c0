"""JupyterLab's files, with the notebook templates read-only: an operator runs copies, and git shows nothing changed."""

import os

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado import web
from traitlets import Bool

from cutover import site

TEMPLATES = site.PROJECT / "notebooks"


class Contents(AsyncLargeFileManager):
    """Refuses to write below notebooks/ unless `edit_templates`."""

    edit_templates = Bool(False, config=True, help="let the templates be edited, for developers")

    def _guarded(self, path):
        full = os.path.realpath(self._get_os_path(path))
        return not self.edit_templates and (full == str(TEMPLATES) or full.startswith(f"{TEMPLATES}{os.sep}"))

    def _refuse(self, path):
        if self._guarded(path):
            raise web.HTTPError(403, f"{path} is a template and stays as it is. To work on a run: cutover jupyter --site FILE; "
                                     "to edit templates: cutover jupyter --edit-templates")

    def _base_model(self, path):
        model = super()._base_model(path)
        if self._guarded(path):
            model["writable"] = False
        return model

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
