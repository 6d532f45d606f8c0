"""Where the lab keeps things on this machine."""

import pathlib

CACHE = pathlib.Path("/var/cache/mail-cutover")
STATE = pathlib.Path("/var/lib/mail-cutover/lab")
# kept beside STATE, not in it: `down` removes STATE while it holds this lock
LOCK = STATE.parent / "lab.lock"
