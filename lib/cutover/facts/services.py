"""Services on a host: the commands that show, stop and start one, and their parsers.

A stopped service must stay stopped if the host reboots during the outage. Three managers:

systemd  Stop, then mask. At each boot Debian makes units of init scripts (sendmail.service), which
         `systemctl disable` alone does not disable for good; a mask in /etc outranks them. Masking
         comes second: a masked unit has forgotten its ExecStop. A unit whose file is in /etc itself
         cannot be masked and is disabled. `name` may be a whole unit name: for a service with a
         socket list the socket too, first.
sysv     `service NAME stop`; its start links are turned off by chkconfig, or Debian's update-rc.d.
xinetd   The service's block gets `disable = yes`, and xinetd a HUP. The former lines stay as
         comments, so that starting restores the file to the byte.

Run all of them with sudo.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from cutover import model
from cutover.model import moving
from cutover.model.errors import CutoverError


@dataclass(frozen=True)
class ServiceState:
    """What a host says of a service.

    running: it has processes or listens. exists: the host knows it. detail: the manager's words.
    exited: a systemd unit of an init script whose daemon is gone: it counts as active.
    """

    running: bool
    starts_at_boot: bool
    detail: str
    exists: bool = True
    exited: bool = False


@dataclass(frozen=True)
class Service:
    """A service of the parameters and its state."""

    manager: str
    name: str
    running: bool
    starts_at_boot: bool
    detail: str = moving()

    def stopped(self) -> "Service":
        """As it is once its stop has passed verification."""
        return replace(self, running=False, starts_at_boot=False)

    @property
    def off(self) -> bool:
        """It neither runs nor would run after a reboot."""
        return not self.running and not self.starts_at_boot

    @property
    def on(self) -> bool:
        """It runs and would run after a reboot."""
        return self.running and self.starts_at_boot


class UnknownManager(CutoverError):
    """The parameters name a service manager that is not supported."""

    def __init__(self, manager, name):
        self.manager, self.name = manager, name
        super().__init__(
            f"service {name} has an unknown manager {manager!r}. Use {', '.join(_MANAGERS)}."
        )


class StatusUnreadable(CutoverError):
    """A host's reply about a service cannot be understood."""

    def __init__(self, name, result, reason):
        self.name, self.result = name, result
        text = (result.err or result.out).decode("utf-8", "backslashreplace").strip()[-400:]
        super().__init__(
            f"reading the state of {name} on {result.host} failed: {reason} "
            f"(status {result.rc}: {text})."
        )


class _Manager(NamedTuple):
    """One service manager's commands and parser."""

    status: Callable[[str], list[str]]
    parse: Callable[..., ServiceState]
    stop: Callable[[str], list[list[str]]]
    start: Callable[[str, bool], list[list[str]]]


def read(hosts, host: str, listed: Iterable) -> list[Service]:
    """The state of services on a host, in order. Raises StatusUnreadable.

    listed: site.Service, or anything else with `manager` and `name`.
    """
    services = []
    for service in listed:
        now = state(hosts, host, service.manager, service.name)
        services.append(
            Service(service.manager, service.name, now.running, now.starts_at_boot, now.detail)
        )
    return services


def state(hosts, host: str, manager: str, name: str) -> ServiceState:
    """The state of one service on a host. Raises StatusUnreadable."""
    result = hosts.run(host, status_argv(manager, name), sudo=True, check=False)
    return parse_status(manager, name, result)


def log_end(hosts, host: str, unit: str) -> str:
    """The last lines of a unit's own log, "" when systemd keeps none."""
    argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "6", "-u", unit]
    return hosts.run(host, argv, sudo=True, check=False).text.strip()


def status_argv(manager: str, name: str) -> list[str]:
    """The command whose Result parse_status reads. Run it unchecked: its status may not be 0."""
    return _manager(manager, name).status(name)


def parse_status(manager: str, name: str, result) -> ServiceState:
    """The state of a service from the Result of status_argv. Raises StatusUnreadable."""
    return _manager(manager, name).parse(name, result)


def stop_argvs(manager: str, name: str) -> list[list[str]]:
    """Commands, in order, that stop a service and keep it stopped after a reboot. Idempotent."""
    return _manager(manager, name).stop(name)


def start_argvs(manager: str, name: str, starts_at_boot: bool = True) -> list[list[str]]:
    """Commands, in order, that undo stop_argvs. starts_at_boot: as it was before the stop."""
    return _manager(manager, name).start(name, starts_at_boot)


def _manager(manager: str, name: str) -> _Manager:
    if manager not in _MANAGERS:
        raise UnknownManager(manager, name)
    return _MANAGERS[manager]


# -- systemd

_UNIT = re.compile(
    r".+\.(service|socket|timer|path|target|mount|slice|scope|swap|device|automount)"
)
_SHOWN = "Id,LoadState,ActiveState,SubState,UnitFileState,WantedBy,RequiredBy,TriggeredBy"
_MASK = 'systemctl mask -- "$1" || systemctl disable -- "$1"'
_ACTIVE = ("active", "reloading", "activating", "deactivating", "refreshing")
_ENABLE = 'systemctl is-enabled --quiet -- "$1" || systemctl enable -- "$1"'


def _unit(name: str) -> str:
    return name if _UNIT.fullmatch(name) else f"{name}.service"


def _systemd_status(name: str) -> list[str]:
    return ["systemctl", "show", f"--property={_SHOWN}", "--", _unit(name)]


def _systemd_parse(name: str, result) -> ServiceState:
    shown = dict(line.split("=", 1) for line in model.lines(result.text) if "=" in line)
    if result.rc or not {"LoadState", "ActiveState"} <= shown.keys():
        raise StatusUnreadable(name, result, "systemctl show gave no LoadState and ActiveState")
    file_state, sub = shown.get("UnitFileState", ""), shown.get("SubState", "?")
    # "generated", "static" and "indirect" start if another unit wants them; "disabled" never does
    needed = bool(shown.get("WantedBy") or shown.get("RequiredBy"))
    at_boot = file_state == "enabled" or (
        file_state in ("generated", "static", "indirect", "alias") and needed
    )
    active, exited = shown["ActiveState"] in _ACTIVE, sub == "exited"
    detail = f"{shown['ActiveState']} ({sub}), {file_state or shown['LoadState']}"
    if shown.get("TriggeredBy"):
        detail += f", can be started by {shown['TriggeredBy']}"
    return ServiceState(
        running=active and not exited,
        starts_at_boot=at_boot,
        detail=detail,
        exists=shown["LoadState"] != "not-found",
        exited=active and exited,
    )


def _systemd_stop(name: str) -> list[list[str]]:
    return [["systemctl", "stop", "--", _unit(name)], ["sh", "-c", _MASK, "mask", _unit(name)]]


def _systemd_start(name: str, starts_at_boot: bool) -> list[list[str]]:
    enable = [["sh", "-c", _ENABLE, "enable", _unit(name)]] if starts_at_boot else []
    return [
        ["systemctl", "unmask", "--", _unit(name)],
        *enable,
        ["systemctl", "start", "--", _unit(name)],
    ]


# -- SysV init scripts: start links in /etc/rcN.d (Debian) or /etc/rc.d/rcN.d (Red Hat)

_SYSV_STATUS = (
    '[ -x "/etc/init.d/$1" ] && echo script; '
    'ls -d /etc/rc[2345].d/S[0-9][0-9]"$1" /etc/rc.d/rc[2345].d/S[0-9][0-9]"$1" 2>/dev/null '
    '| sed "s/^/link /"; '
    'service "$1" status </dev/null >/dev/null 2>&1; echo "status $?"'
)
_SYSV_BOOT = (
    'if command -v chkconfig >/dev/null; then chkconfig "$1" "$2"; '
    'elif [ "$2" = on ]; then update-rc.d "$1" enable; else update-rc.d "$1" disable; fi'
)
_LSB = {
    0: "running",
    1: "dead, with a pid file",
    2: "dead, with a lock file",
    3: "stopped",
}  # LSB 3.1, §20.2


def _sysv_status(name: str) -> list[str]:
    return ["sh", "-c", _SYSV_STATUS, "status", name]


def _sysv_parse(name: str, result) -> ServiceState:
    lines = model.lines(result.text)
    status = [int(line[7:]) for line in lines if re.fullmatch(r"status \d+", line)]
    if not status:
        raise StatusUnreadable(name, result, "the init script gave no status")
    links = sum(line.startswith("link ") for line in lines)
    if "script" not in lines:
        return ServiceState(False, False, "no such init script", exists=False)
    detail = f"{_LSB.get(status[-1], f'status {status[-1]}')}, starts in {links} runlevels"
    return ServiceState(status[-1] == 0, links > 0, detail)


def _sysv_stop(name: str) -> list[list[str]]:
    return [["service", name, "stop"], ["sh", "-c", _SYSV_BOOT, "boot", name, "off"]]


def _sysv_start(name: str, starts_at_boot: bool) -> list[list[str]]:
    enable = [["sh", "-c", _SYSV_BOOT, "boot", name, "on"]] if starts_at_boot else []
    return [*enable, ["service", name, "start"]]


# -- xinetd: blocks `service NAME { … }` in xinetd.conf(5) and the files of its includedir

_XINETD_FILES = "/etc/xinetd.conf /etc/xinetd.d/*"
_XINETD_STATUS = (
    'pids=$(pidof xinetd) && echo "pid $pids"; for f in '
    + _XINETD_FILES
    + '; do case "${f##*/}" in *.conf) ;; '
    '*.*|*~) continue;; esac; [ -f "$f" ] && echo "file $f" && sed "s/^/  /" "$f"; done; true'
)
# awk keeps every line it has no rule for; a changed copy with the file's owner and mode replaces it
_XINETD_EDIT = (
    "for f in " + _XINETD_FILES + '; do [ -f "$f" ] || continue; new=$(dirname "$f")/.cutover.$$; '
    'edit() { awk -v name="$1" -v boot="$2" \'%s\' "$f"; }; trap \'rm -f "$new"\' EXIT; '
    'cp -p "$f" "$new" && edit "$@" > "$new" && size=$(edit "$@" | wc -c) || exit 1; '
    'if [ "$size" -ne "$(wc -c < "$new")" ]; then echo "$f: the disk is full" >&2; exit 75; fi; '
    'if cmp -s "$f" "$new"; then rm -f "$new"; else sync "$new" 2>/dev/null || sync; '
    'mv -f "$new" "$f" || exit 1; fi; done; '
)
_XINETD_OFF = r"""
$1 == "service" { hit = ($2 == name) }
hit && $1 == "{" { print; getline; if ($0 == "#cutover-stopped " name) { hit = 0 }
  else { print "#cutover-stopped " name; print "\tdisable = yes" } }
hit && /^[ \t]*disable[ \t]*=/ { print "#cutover-was " name ":" $0; next }
$1 == "}" { hit = 0 }
{ print }"""
_XINETD_ON = r"""
BEGIN { was = "#cutover-was " name ":" }
$1 == "service" { hit = ($2 == name) }
$0 == "#cutover-stopped " name { getline; hit = 0; next }
index($0, was) == 1 { print substr($0, length(was) + 1); next }
hit && boot == "on" && /^[ \t]*disable[ \t]*=[ \t]*yes/ { sub(/=[ \t]*yes/, "= no") }
$1 == "}" { hit = 0 }
{ print }"""
_XINETD_HUP = "pids=$(pidof xinetd) && kill -HUP $pids"


def _xinetd_status(name: str) -> list[str]:
    return ["sh", "-c", _XINETD_STATUS, "status", name]


def _xinetd_parse(name: str, result) -> ServiceState:
    pids, blocks, block = "", [], None
    for line in model.lines(result.text):
        words = line.split()
        if line.startswith("pid "):
            pids = line[4:]
        elif len(words) >= 2 and words[0] == "service" and line.startswith("  "):
            block = {"name": words[1]}
            blocks.append(block)
        elif words[:1] == ["defaults"]:
            block = {"name": ""}
            blocks.append(block)
        elif words[:1] == ["}"]:
            block = None
        elif block is not None and "=" in line and not line.strip().startswith("#"):
            key, _, value = line.partition("=")
            block[key.strip(" \t+-")] = value.split()
    ours = [options for options in blocks if options["name"] == name]
    defaults = [options for options in blocks if not options["name"]]
    disabled = any(name in options.get("disabled", []) for options in defaults)
    enabled = any(options.get("disable", ["no"]) != ["yes"] for options in ours)
    on = enabled and not disabled
    if not ours:
        return ServiceState(False, False, "in no file of xinetd", exists=False)
    detail = (
        f"{'enabled' if on else 'disabled'} in xinetd, which {'runs' if pids else 'does not run'}"
    )
    return ServiceState(bool(on and pids), on, detail)


def _xinetd_stop(name: str) -> list[list[str]]:
    script = _XINETD_EDIT % _XINETD_OFF + _XINETD_HUP + " || true"
    return [["sh", "-c", script, "xinetd-off", name, "off"]]


def _xinetd_start(name: str, starts_at_boot: bool) -> list[list[str]]:
    # xinetd ends when its last service goes away; a unit that "exited" is not started by `start`
    script = _XINETD_EDIT % _XINETD_ON + _XINETD_HUP + " || service xinetd restart"
    return [["sh", "-c", script, "xinetd-on", name, "on" if starts_at_boot else "off"]]


_MANAGERS = {
    "systemd": _Manager(_systemd_status, _systemd_parse, _systemd_stop, _systemd_start),
    "sysv": _Manager(_sysv_status, _sysv_parse, _sysv_stop, _sysv_start),
    "xinetd": _Manager(_xinetd_status, _xinetd_parse, _xinetd_stop, _xinetd_start),
}
