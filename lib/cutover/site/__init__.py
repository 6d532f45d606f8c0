"""A site: its parameters file, validated, and its secrets by reference.

Secrets are never in the file: a reference, `file:/path` or `env:NAME`, is read when needed.
"""

from cutover.site.field_types import BadParameters
from cutover.site.host_sections import HostServices, Service
from cutover.site.loader import PROJECT, find, is_known_by, load, store_names
from cutover.site.night_sections import GTUBE, NewStore, OldStore
from cutover.site.parameters import Site
from cutover.site.secrets import SecretUnreadable, secret
from cutover.site.system_sections import StoreHost

__all__ = [
    "GTUBE",
    "PROJECT",
    "BadParameters",
    "HostServices",
    "NewStore",
    "OldStore",
    "SecretUnreadable",
    "Service",
    "Site",
    "StoreHost",
    "find",
    "is_known_by",
    "load",
    "secret",
    "store_names",
]
