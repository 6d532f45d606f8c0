"""What can go wrong with a host over ssh: one class per cause, its data as attributes."""

import signal

from cutover.connect.ssh.result import Result, shown
from cutover.model.errors import TemplatedError


class SshError(TemplatedError):
    """A host cannot be reached or used over ssh. The data of each cause are attributes."""

    template = "{host}: ssh failed"


class Unreachable(SshError):
    """No usable ssh service answered at the address; no command was sent."""

    template = (
        "ssh to {host} failed: {address} port {port}: {reason}. Check that the host is up and the "
        "address is right"
    )


class KnownHostsUnusable(SshError):
    """The file of pinned host keys cannot be read, so no host can be trusted."""

    template = "{host}: the host keys in {known_hosts} cannot be read: {reason}"


class UnknownHostKey(SshError):
    """The known_hosts file has no key for this host."""

    template = (
        "ssh to {host} refused: {known_hosts} has no host key for {names}. The host offers "
        "{key_type} {fingerprint}. Compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` "
        "on the host's console, then add this line: {line}"
    )


class HostKeyChanged(SshError):
    """The host shows another key than the pinned one."""

    template = (
        "ssh to {host} refused: its host key changed. {known_hosts} has {pinned}, the host offers "
        "{key_type} {fingerprint}. Either another machine answers at {address} or the host was "
        "reinstalled: find out which, then update the file"
    )


class KeyUnusable(SshError):
    """The operator's private key file cannot be used on this side."""

    template = "{host}: the private key {key_file} cannot be used: {reason}"


class KeyRefused(SshError):
    """The host does not accept the operator's key for this account."""

    template = (
        "ssh to {host} failed: {user} may not log in with the key {key_file}. Add {key_file}.pub "
        "to ~{user}/.ssh/authorized_keys there"
    )


class NoAlgorithm(SshError):
    """The host's sshd and this side have no algorithm in common."""

    template = (
        "ssh to {host} failed: the sshd at {address} offers only algorithms that this program no "
        "longer supports ({reason}). Update it, or run a newer sshd on another port"
    )


class OldAlgorithms(NoAlgorithm):
    """The host's sshd offers nothing that paramiko has, on a host without `legacy_ssh`."""

    template = (
        "ssh to {host} failed: the sshd at {address} offers only old algorithms ({reason}). Set "
        "hosts.{host}.legacy_ssh: true in the parameters, with an RSA key in ssh_key; better: "
        "update it, or run a newer sshd on another port"
    )


class TooManySessions(SshError):
    """Every session this connection may have at once was in use for too long.

    No command was sent.
    """

    template = (
        "{host}: no session came free within {seconds:g} s, so this was not started: {command}. "
        "Abandoned commands may still be running there; see also MaxSessions in its sshd_config"
    )


class UnsendableCommand(SshError):
    """An argument holds a NUL byte, which ends it for the host's shell: nothing was sent."""

    template = "{host}: an argument holds a NUL byte, so this was not sent: {command}"


class LinkLost(SshError):
    """The link went away after the command was sent: its outcome is unknown."""

    outcome_unknown = True

    template = (
        "{host}: the link was lost ({reason}) while running: {command}. Whether the command "
        "finished is UNKNOWN: check on the host"
    )


class NoSudo(SshError):
    """sudo on the host refused without asking, so the command did not run."""

    template = (
        "{host}: sudo -n refused ({reason}) for: {command}. "
        "{user} needs a NOPASSWD rule in sudoers there"
    )


class SudoNeedsTerminal(NoSudo):
    """sudo on the host works only with a terminal: `Defaults requiretty`, the default of old."""

    template = (
        "{host}: sudo refused ({reason}) for: {command}. Add this line to /etc/sudoers there, by "
        "visudo: Defaults:{user} !requiretty"
    )


class OldSudo(NoSudo):
    """sudo on the host is older than 1.7, on a host without `legacy_sudo`."""

    template = (
        "{host}: sudo there has no option -n ({reason}), so this did not run: {command}. Set "
        "hosts.{host}.legacy_sudo: true in the parameters; better: update sudo"
    )


class CommandFailed(SshError):
    """The command ran and ended with a status other than 0, or by a signal."""

    template = "{host}: {how} from: {command}{tail}"

    @classmethod
    def of(cls, result: "Result", **more) -> "CommandFailed":
        how = f"signal {result.signal}" if result.signal else f"status {result.rc}"
        if result.rc - 128 in set(signal.Signals):  # a shell in between says it this way
            how += f" (signal {signal.Signals(result.rc - 128).name[3:]})"
        output = result.err.strip() or result.out.strip()
        tail = (
            (": " + output[-800:].decode("utf-8", "backslashreplace")) if output else " (no output)"
        )
        command = shown(result.argv)
        return cls(
            host=result.host,
            command=command,
            how=how,
            tail=tail,
            rc=result.rc,
            result=result,
            **more,
        )


class NoSuchFile(CommandFailed):
    """The file to be fetched does not exist on the host."""

    template = "{host}: {path} does not exist"


class TimedOut(SshError):
    """The command did not end, or said nothing, for as long as it was given.

    It may still be running.
    """

    outcome_unknown = True

    template = (
        "{host}: no {what} within {seconds:g} s from: {command}. It may still be running there"
    )


class TooMuchOutput(SshError):
    """The command wrote more than it may; it was cut off and may still be running."""

    outcome_unknown = True

    template = "{host}: more than {limit} bytes {where} from: {command}"
