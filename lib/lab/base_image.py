"""The base root directories, one per Debian suite. Every host of the lab is an overlay of one.

Each is made once and cached under a hash of its recipe.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import subprocess
import sys

from lab import errors, locks, paths, requirements, resources, topology

SUITES = ("bookworm", "trixie")
# of the new server, and of every other host
NEW, DEFAULT = "trixie", "bookworm"
PACKAGES = (
    # the machine
    "systemd",
    "systemd-sysv",
    "dbus",
    "iproute2",
    "procps",
    "openssh-server",
    "sudo",
    "rsync",
    "python3",
    "openssl",
    "m4",
    "make",
    "db-util",
    # mail
    "sendmail-bin",
    "sensible-mda",
    "procmail",
    "xinetd",
    "stunnel4",
    "dovecot-imapd",
    "dovecot-pop3d",
    "dovecot-sieve",
    "dovecot-managesieved",
    "sieve-connect",
    # names and users
    "bind9",
    "bind9-dnsutils",
    "ypserv",
    "ypbind-mt",
    "yp-tools",
    "libnss-nis",
    # submission, antispam, webmail, lists
    "sasl2-bin",
    "libsasl2-modules",
    "rspamd",
    "redis-server",
    "roundcube-core",
    "roundcube-sqlite3",
    "roundcube-plugins",
    "apache2",
    "libapache2-mod-php",
    "mlmmj",
    # the users' mail programs
    "isync",
    "offlineimap3",
    "mutt",
    "alpine",
    "fetchmail",
    "getmail6",
    # backup, and the shared store
    "bacula-director",
    "bacula-director-sqlite3",
    "bacula-sd",
    "bacula-fd",
    "bacula-console",
    "glusterfs-server",
    "glusterfs-client",
)
# c-client's programs, which Debian 13 does not have: {path in the built tree: path in the root}
BUILT = {
    "imapd/imapd": "usr/sbin/imapd",
    "ipopd/ipop3d": "usr/sbin/ipop3d",
    "mailutil/mailutil": "usr/bin/mailutil",
    "dmail/dmail": "usr/bin/dmail",
}
# documentation and translations are never read in the lab, and take half the unpacking time
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
APT_OPTIONS = ('Acquire::Languages "none"', 'Acquire::Retries "3"')


def suites(base=None, new=None):
    """{role: suite}. base: of every host; new: of the new server. Tests take other defaults from
    the environment: CUTOVER_BASE and CUTOVER_NEW.
    """
    base = base or os.environ.get("CUTOVER_BASE")
    new = new or os.environ.get("CUTOVER_NEW") or base or NEW
    return dict.fromkeys(topology.ROLES, base or DEFAULT) | {"new": new}


def recipe(suite):
    """Everything that decides what is in a base, as plain JSON. Any change makes a new base."""
    return {
        "suite": suite,
        "packages": PACKAGES,
        "dpkg": DPKG_OPTIONS,
        "apt": APT_OPTIONS,
        "imapd": resources.read("files/build-imapd.sh"),
        "trim": resources.read("files/trim.sh"),
        "built": BUILT,
    }


def path(suite=DEFAULT):
    """Where the base of a suite's current recipe is, or will be."""
    text = json.dumps(recipe(suite), sort_keys=True)
    return paths.CACHE / f"base-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def ensure(suite=DEFAULT, say=None):
    """Path of a suite's root directory; builds it first if it is not cached (about a minute).

    Treat it as read-only: hosts and tests mount overlays over it.
    Raises errors.Missing without root or tools, and errors.LabError if the build fails.
    """
    base = path(suite)
    if base.is_dir():
        return base
    requirements.require("building the lab's base")
    with locks.cache(suite):
        if not base.is_dir():
            (say or _stderr)(f"building the lab's base of {suite} (once; about a minute) …")
            _build(suite, base)
    return base


def ensure_all(suites, say=None):
    """`{suite: path of its base}`, as `ensure`. Those that are not cached are built side by side.

    Each in a process of its own: what one of them runs must not hold the other's lock.
    """
    suites = sorted(set(suites))
    missing = [suite for suite in suites if not path(suite).is_dir()]
    if len(missing) > 1:
        requirements.require("building the lab's bases")
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(len(missing), spawn) as pool:
            list(pool.map(ensure, missing))
    return {suite: ensure(suite, say) for suite in suites}


def remove_all():
    """Delete every cached base and seed snapshot. The lab must be down."""
    with contextlib.ExitStack() as stack:
        # in the order of a build, which waits for the first one's programs
        for suite in reversed(SUITES):
            stack.enter_context(locks.cache(suite))
        for entry in paths.CACHE.glob("*/"):
            shutil.rmtree(entry)


def _stderr(text):
    print(f"cutover: {text}", file=sys.stderr, flush=True)


def _build(suite, base):
    part = paths.CACHE / f"{suite}.part"
    _discard(part)
    root = part / "root"
    part.mkdir(mode=0o755)
    log = paths.CACHE / f"{suite}.log"
    with open(log, "wb") as output:
        try:
            _call(_mmdebstrap(suite, root), output)
            _chroot(root, resources.read("files/trim.sh"), output)
            if suite == DEFAULT:
                _imapd(part, root, output)
            else:  # they need the C library alone, and a newer one will do
                _copy(ensure(DEFAULT), root, {place: place for place in BUILT.values()})
            os.chmod(root, 0o755)
            root.rename(base)
        except subprocess.CalledProcessError as error:
            output.flush()
            tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-15:])
            raise errors.LabError(
                f"building the lab's base in {part} failed: {error.cmd[0]}, "
                f"exit {error.returncode}. The end of {log}:\n{tail}"
            ) from None
        finally:
            _discard(part)


def _mmdebstrap(suite, root):
    command = ["mmdebstrap", "--variant=minbase", "--mode=root"]
    command += ["--include=" + ",".join(PACKAGES)]
    command += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    command += [f"--aptopt={option}" for option in (*APT_OPTIONS, *_proxies())]
    return [*command, suite, str(root)]


def _proxies():
    """This machine's apt proxy settings, which mmdebstrap does not read by itself."""
    done = subprocess.run(
        ["apt-config", "dump"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return [
        line.rstrip(";")
        for line in done.stdout.splitlines()
        if re.match(r'Acquire::https?::Proxy(::\S+)? "[^"]', line, re.IGNORECASE)
    ]


def _imapd(part, root, output):
    """Build c-client's programs in a temporary overlay.

    Purging the compiler would purge sendmail.
    """
    layer = part / "layer"
    merged = layer / "merged"
    layer.mkdir()
    _call(["mount", "-t", "tmpfs", "-o", "mode=0755", "layer", str(layer)], output)
    for name in ("upper", "work", "merged"):
        (layer / name).mkdir()
    options = f"lowerdir={root},upperdir={layer}/upper,workdir={layer}/work"
    _call(["mount", "-t", "overlay", "-o", options, "overlay", str(merged)], output)
    resolv = merged / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.write_bytes(pathlib.Path("/etc/resolv.conf").read_bytes())
    _chroot(merged, resources.read("files/build-imapd.sh"), output)
    (tree,) = (merged / "build").glob("alpine-*/imap")
    _copy(tree, root, BUILT)


def _copy(tree, root, programs):
    for source, target in programs.items():
        shutil.copyfile(tree / source, root / target)
        os.chmod(root / target, 0o755)


def _chroot(root, script, output):
    """Run a script as root inside a root directory, with /dev, /proc and own mount namespace."""
    inside = (
        'set -e; mount --make-rprivate /; mount -t proc proc "$0/proc"; '
        'mount --rbind /dev "$0/dev"; exec chroot "$0" /bin/sh -c "$1"'
    )
    _call(["unshare", "--mount", "--fork", "sh", "-c", inside, str(root), script], output)


def _call(command, output):
    environment = {
        key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")
    }
    environment |= {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    subprocess.run(
        command,
        check=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=locks.held(),
    )


def _discard(part):
    """Unmount everything that a build mounted below `part`, then delete it."""
    with open("/proc/self/mounts") as mounts:
        below = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{part}/")]
    for point in reversed(below):
        subprocess.run(["umount", "--lazy", point], stdin=subprocess.DEVNULL, check=False)
    shutil.rmtree(part, ignore_errors=True)
