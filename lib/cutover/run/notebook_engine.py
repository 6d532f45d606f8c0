"""How papermill executes a notebook here: as its own engine does, but with fewer saves.

Papermill writes the executed copy before and after each cell, text too. What a cell shows is on
disk soon enough before the next cell with code begins: until then nothing happens that could fail.
Long cells are saved as they go on.
"""

from papermill import engines

NAME = "cutover"


class Manager(engines.NotebookExecutionManager):
    """Saves before each cell with code, when a cell failed, and at the end."""

    _skips = False

    def cell_start(self, cell, cell_index=None, **rest):
        self._skips = cell.cell_type != "code"
        super().cell_start(cell, cell_index, **rest)
        self._skips = False

    def cell_complete(self, cell, cell_index=None, **rest):
        self._skips = cell.metadata.papermill["status"] != self.FAILED
        super().cell_complete(cell, cell_index, **rest)
        self._skips = False

    def save(self, **rest):
        if not self._skips:
            super().save(**rest)


class Engine(engines.NBClientEngine):
    """Papermill's own engine with this Manager."""

    @classmethod
    def execute_notebook(cls, nb, kernel_name, output_path=None, log_output=False, **rest):
        rest.pop("progress_bar", None)
        manager = Manager(nb, output_path, log_output, progress_bar=False)
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **rest)
        finally:
            manager.notebook_complete()
        return manager.nb


engines.papermill_engines.register(NAME, Engine)
