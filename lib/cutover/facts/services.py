"""What to run to see, stop and start a service, and how to read the answers; nothing here connects anywhere.

A stopped service must stay stopped if the host reboots in the middle of the outage. Three managers:

systemd  stop, then mask. Debian makes units of init scripts at each boot (sendmail.service), which cannot be disabled
         for good by `systemctl disable` alone; a mask in /etc outranks them. Masking comes second: a masked unit
         has forgotten its ExecStop. A unit whose file lies in /etc itself cannot be masked and is disabled.
         `name` may be a whole unit name: a service with a socket needs the socket named too, before it.
sysv     `service NAME stop`, and its start links turned off (chkconfig, or Debian's update-rc.d).
xinetd   the service's block is given `disable = yes`, and xinetd a HUP. The former lines stay beside as comments,
         so that starting restores the file to the byte.

Run all of them with sudo.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cutover.model.errors import CutoverError


def read(hosts, name: str, service: dict) -> dict:
    """`{"running": bool, "starts_at_boot": bool, "detail": str}` of one service (`{"manager", "name"}`)."""
    result = hosts.run(name, status_argv(service), sudo=True, check=False)
    state = parse_status(service, result)
    return {
        "running": state.running,
        "starts_at_boot": state.starts_at_boot,
        "detail": state.detail,
    }


def log_end(hosts, name: str, unit: str) -> str:
    """The last lines of a unit's own log, where systemd keeps one; empty where there is none."""
    argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "6", "-u", unit]
    return hosts.run(name, argv, sudo=True, check=False).text.strip()


class UnknownManager(CutoverError):
    """The parameters name a service manager there is no code for."""

    def __init__(self, service):
        self.service = service
        known = ", ".join(_MANAGERS)
        super().__init__(
            f"service {service['name']}: no manager {service['manager']!r}; known are {known}"
        )


class StatusUnreadable(CutoverError):
    """The answer of a host about a service cannot be understood."""

    def __init__(self, service, result, reason):
        self.service, self.result = service, result
        said = (result.err or result.out).decode("utf-8", "backslashreplace").strip()[-400:]
        super().__init__(
            f"{result.host}: cannot tell the state of {service['name']}: {reason} (status {result.rc}: {said})"
        )


@dataclass(frozen=True)
class ServiceState:
    """`running`: it has processes or listens. `exists`: the host knows it. `detail`: the manager's own words."""

    running: bool
    starts_at_boot: bool
    detail: str
    exists: bool = True


def status_argv(service: Mapping) -> list[str]:
    """The command whose Result parse_status reads. It may end with a status other than 0: run it unchecked."""
    return _manager(service)["status"](service["name"])


def parse_status(service: Mapping, result) -> ServiceState:
    """The state of a service from the Result of status_argv. StatusUnreadable if it says nothing of use."""
    return _manager(service)["parse"](service, result)


def stop_argvs(service: Mapping) -> list[list[str]]:
    """Commands, in order, that stop a service and keep it stopped over a reboot. Doing them twice is harmless."""
    return _manager(service)["stop"](service["name"])


def start_argvs(service: Mapping, starts_at_boot: bool = True) -> list[list[str]]:
    """Commands, in order, that undo stop_argvs; `starts_at_boot`: whether it did so before it was stopped."""
    return _manager(service)["start"](service["name"], starts_at_boot)


def _manager(service: Mapping) -> Mapping:
    try:
        return _MANAGERS[service["manager"]]
    except KeyError:
        raise UnknownManager(service) from None


# -- systemd

_UNIT = re.compile(
    r".+\.(service|socket|timer|path|target|mount|slice|scope|swap|device|automount)"
)
_SHOWN = "Id,LoadState,ActiveState,SubState,UnitFileState,WantedBy,RequiredBy,TriggeredBy"
_MASK = 'systemctl mask -- "$1" || systemctl disable -- "$1"'
_ENABLE = 'systemctl is-enabled --quiet -- "$1" || systemctl enable -- "$1"'


def _unit(name: str) -> str:
    return name if _UNIT.fullmatch(name) else f"{name}.service"


def _systemd_status(name: str) -> list[str]:
    return ["systemctl", "show", f"--property={_SHOWN}", "--", _unit(name)]


def _systemd_parse(service: Mapping, result) -> ServiceState:
    said = dict(line.split("=", 1) for line in result.text.splitlines() if "=" in line)
    if result.rc or not {"LoadState", "ActiveState"} <= said.keys():
        raise StatusUnreadable(service, result, "systemctl show gave no LoadState and ActiveState")
    file_state = said.get("UnitFileState", "")
    # a unit that is "generated", "static" or "indirect" starts if another one asks for it; "disabled" asks for nothing
    wanted = bool(said.get("WantedBy") or said.get("RequiredBy"))
    at_boot = file_state == "enabled" or (
        file_state in ("generated", "static", "indirect", "alias") and wanted
    )
    active = said["ActiveState"] in (
        "active",
        "reloading",
        "activating",
        "deactivating",
        "refreshing",
    )
    detail = (
        f"{said['ActiveState']} ({said.get('SubState', '?')}), {file_state or said['LoadState']}"
    )
    if said.get("TriggeredBy"):
        detail += f", can be started by {said['TriggeredBy']}"
    return ServiceState(
        running=active
        and said.get("SubState") != "exited",  # "exited": a unit of an init script, its daemon gone
        starts_at_boot=at_boot,
        detail=detail,
        exists=said["LoadState"] != "not-found",
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
    'ls -d /etc/rc[2345].d/S[0-9][0-9]"$1" /etc/rc.d/rc[2345].d/S[0-9][0-9]"$1" 2>/dev/null | sed "s/^/link /"; '
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


def _sysv_parse(service: Mapping, result) -> ServiceState:
    lines = result.text.splitlines()
    status = [int(line[7:]) for line in lines if re.fullmatch(r"status \d+", line)]
    if not status:
        raise StatusUnreadable(service, result, "the init script gave no status")
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
# awk keeps every line it has no rule for; a changed copy is renamed over the file, whose owner and mode it keeps
_XINETD_EDIT = (
    "for f in " + _XINETD_FILES + '; do [ -f "$f" ] || continue; new=$(dirname "$f")/.cutover.$$; '
    'cp -p "$f" "$new" && awk -v name="$1" -v boot="$2" \'%s\' "$f" > "$new" || exit 1; '
    'if cmp -s "$f" "$new"; then rm -f "$new"; else mv -f "$new" "$f" || exit 1; fi; done; '
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


def _xinetd_parse(service: Mapping, result) -> ServiceState:
    name, pids, blocks, block, disabled = service["name"], "", [], None, False
    for line in result.text.splitlines():
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
    ours = [each for each in blocks if each["name"] == name]
    disabled = any(name in each.get("disabled", []) for each in blocks if not each["name"])
    on = [each for each in ours if each.get("disable", ["no"]) != ["yes"]] and not disabled
    if not ours:
        return ServiceState(False, False, "in no file of xinetd", exists=False)
    detail = (
        f"{'enabled' if on else 'disabled'} in xinetd, which {'runs' if pids else 'does not run'}"
    )
    return ServiceState(bool(on and pids), bool(on), detail)


def _xinetd_stop(name: str) -> list[list[str]]:
    script = _XINETD_EDIT % _XINETD_OFF + _XINETD_HUP + " || true"
    return [["sh", "-c", script, "xinetd-off", name, "off"]]


def _xinetd_start(name: str, starts_at_boot: bool) -> list[list[str]]:
    # xinetd ends when its last service goes away; a unit that "exited" is not started by `start`
    script = _XINETD_EDIT % _XINETD_ON + _XINETD_HUP + " || service xinetd restart"
    return [["sh", "-c", script, "xinetd-on", name, "on" if starts_at_boot else "off"]]


_MANAGERS = {
    "systemd": {
        "status": _systemd_status,
        "parse": _systemd_parse,
        "stop": _systemd_stop,
        "start": _systemd_start,
    },
    "sysv": {
        "status": _sysv_status,
        "parse": _sysv_parse,
        "stop": _sysv_stop,
        "start": _sysv_start,
    },
    "xinetd": {
        "status": _xinetd_status,
        "parse": _xinetd_parse,
        "stop": _xinetd_stop,
        "start": _xinetd_start,
    },
}
