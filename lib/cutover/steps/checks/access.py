"""Whether the operator can do the night's work: log in, become root, find the programs, read the
test passwords."""

from collections.abc import Iterator, Mapping

from cutover import model


def root(accounts: Mapping[str, model.Reading[str]]) -> Iterator[model.Check]:
    """One check per host; accounts: what `sudo -n` switches to on each."""
    for name, account in accounts.items():
        question = f"The operator can log in to {name} and become root with `sudo -n`"
        about = {"id": "root-access", "subject": name}
        if account.ok:
            todo = "Give the operator `NOPASSWD: ALL` in sudoers."
            yield model.equal(question, "root", account.value, todo, **about)
        else:
            todo = "Fix this first: all other checks of this host depend on it."
            yield model.Check(question, "root", account.error, False, todo, **about)


def old_ssh(used: Mapping[str, model.Reading[list[str]]]) -> Iterator[model.Check]:
    """One check per host with legacy_ssh, always passed: it shows what is weaker, and for what."""
    for name, algorithms in used.items():
        old = algorithms.value if algorithms.ok else []
        yield model.Check(
            f"The link to {name} uses old algorithms only because it must",
            "known",
            (", ".join(old) or "none") if algorithms.ok else algorithms.error,
            True,
            "Reach it over a trusted network only."
            if old or not algorithms.ok
            else f"Remove hosts.{name}.legacy_ssh: its sshd does without.",
            warning=True,
            id="old-ssh",
            subject=name,
            data={"algorithms": old},
        )


def programs(missing: Mapping[str, model.Reading[list[str]]]) -> Iterator[model.Check]:
    """One check per host."""
    for name, programs in missing.items():
        yield model.Check(
            f"{name} has the programs that the night runs there",
            "all of them",
            (", ".join(programs.value) + " missing" if programs.value else "all of them")
            if programs.ok
            else programs.error,
            programs.ok and not programs.value,
            "Install them. If they are there, add their directories to secure_path in sudoers.",
            id="programs-present",
            subject=name,
            data={"missing": programs.value},
        )


def passwords(readable: Mapping[str, model.Reading[bool]]) -> Iterator[model.Check]:
    """One check per test user."""
    for user, password in readable.items():
        yield model.Check(
            f"The password of test user {user} can be read",
            "yes",
            "yes" if password.ok else password.error,
            password.ok,
            "Fix it, or name another user in production_test.users or outage.probe: without a "
            "password the night cannot end with a production test.",
            id="test-password",
            subject=user,
        )
