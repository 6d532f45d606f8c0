"""Programs that the cutover needs on a host."""


def sudo_account(hosts, name: str) -> str:
    """The account that `sudo -n` switches to: root."""
    return hosts.run(name, ["id", "-un"], sudo=True, timeout=20).text.strip()


def old_algorithms(hosts, name: str) -> list[str]:
    """The old algorithms that the link to a host uses."""
    return hosts.ssh(name).old_algorithms()


def python_version(hosts, name: str) -> str:
    """The version of the Python that runs the converter, such as "3.11"."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    return hosts.run(name, [hosts.site.new_store.python, "-I", "-c", script]).text.strip()


def imapd(hosts, name: str) -> str:
    """The path of c-client's imapd. Raises CutoverError if it is missing or not executable."""
    hosts.run(name, ["test", "-x", hosts.site.old_store.imapd])
    return hosts.site.old_store.imapd
