"""The lab's network: a bridge with the control side's address, and a namespace per host."""

import json
import pathlib

from lab import errors, system, topology

BRIDGE = "cutlab0"
NAMESPACES = pathlib.Path("/run/netns")


def namespace(name):
    """Name of a host's network namespace, as `ip netns` and `ip -n` take it."""
    return f"cutover-{name}"


def link(name):
    """The control side's end of a host's veth pair; at most 15 characters."""
    return f"cl-{name}"


def up(hosts=topology.HOSTS):
    """Make the missing bridge, namespaces and links of these hosts (name → Host)."""
    present = {entry["ifname"]: entry for entry in json.loads(system.call("ip", "-j", "addr"))}
    _refuse_foreign(present)
    if BRIDGE not in present:
        system.call(
            "ip",
            "-batch",
            "-",
            input=f"link add {BRIDGE} type bridge forward_delay 0\n"
            f"addr add {topology.CONTROL_ADDRESS}/24 dev {BRIDGE}\n"
            f"addr add {topology.OUTSIDE_ADDRESS}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n",
        )
    for host in hosts.values():
        if link(host.name) not in present or not (NAMESPACES / namespace(host.name)).exists():
            _join(host)


def _join(host):
    name, space = link(host.name), namespace(host.name)
    system.call("ip", "link", "del", name, check=False)
    if not (NAMESPACES / space).exists():
        system.call("ip", "netns", "add", space)
    system.call(
        "ip",
        "-batch",
        "-",
        input=f"link add {name} type veth peer name eth0 netns {space}\n"
        f"link set {name} master {BRIDGE} up\n",
    )
    system.call(
        "ip",
        "-n",
        space,
        "-batch",
        "-",
        input="link set lo up\nlink set eth0 up\n"
        f"addr add {host.address}/24 dev eth0\n"
        + (f"route add {topology.OUTSIDE_ADDRESS} dev eth0\n" if host.role == "submission" else ""),
    )
    # while NIS is silent, every query leaves four connections in TIME_WAIT for a minute, on some
    # 400 reserved ports: a busy host would run out of them, and an ypbind that starts then exits
    system.call(
        "ip", "netns", "exec", space, "sh", "-c", "echo 32 > /proc/sys/net/ipv4/tcp_max_tw_buckets"
    )


def _refuse_foreign(present):
    """Fail if anything else on this machine uses the lab's addresses."""
    for name, entry in present.items():
        for address in entry.get("addr_info", ()):
            if name != BRIDGE and address["local"].startswith(("10.77.0.", "10.77.1.")):
                raise errors.LabError(
                    f"{name} of this machine has {address['local']}, and the lab needs the network "
                    f"{topology.NETWORK} and {topology.OUTSIDE_ADDRESS} for itself. "
                    "Remove that address."
                )


def down():
    """Remove every link and namespace of the lab."""
    present = {entry["ifname"] for entry in json.loads(system.call("ip", "-j", "link"))}
    # the control side's end first: the kernel removes a namespace's links only later
    for name in [link(name) for name in topology.EVER] + [BRIDGE]:
        if name in present:
            system.call("ip", "link", "del", name, check=False)
    for name in topology.EVER:
        if (NAMESPACES / namespace(name)).exists():
            system.call("ip", "netns", "del", namespace(name), check=False)


def rests():
    """Names of the lab's links and namespaces that exist."""
    present = {entry["ifname"] for entry in json.loads(system.call("ip", "-j", "link"))}
    links = sorted(present & {BRIDGE, *map(link, topology.EVER)})
    return links + [
        namespace(name) for name in topology.EVER if (NAMESPACES / namespace(name)).exists()
    ]
