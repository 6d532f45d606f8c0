"""The marks by which the lab's hosts show that the lab made them: /etc/cutover-lab on each."""

from cutover.site.lab_hosts import NotTheLab


def prove(hosts, site) -> None:
    """Raises NotTheLab unless every host that ssh reaches carries the lab's mark.

    A host that is off, like mailboxold after decommission, cannot show its mark. It counts if the
    lab's own state says that the lab made it at the site's address and that its process has ended.
    At least one host must show its mark.
    """
    from lab import state

    lab = state.read()
    hosts.prove()

    def mark(name):
        return hosts.run(name, ["cat", "/etc/cutover-lab"], check=False).text.strip()

    def off(name):
        made = (lab or {"hosts": {}})["hosts"].get(name)
        return (
            made
            and made["address"] == site.address(name)
            and not state.alive(made["pid"], made["start"])
        )

    running = [name for name in site.hosts if not off(name)]
    for name, shown in hosts.each(running or list(site.hosts), mark).items():
        if lab is None or shown != lab["lab"]:
            raise NotTheLab(
                f"{name} does not carry the mark of the running lab: a rehearsal may not change it"
            )
