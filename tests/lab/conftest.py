"""Being here puts this folder on the path: the folders below use night.py as well."""
