"""What can go wrong with a host over ssh: one class per cause, its data as attributes."""

import signal

from cutover.connect.ssh.result import Result, shown
from cutover.model.errors import TemplatedError


class SshError(TemplatedError):
    """Something about reaching or using a host over ssh; the data of each kind are attributes."""

    template = "{host}: ssh failed"


class Unreachable(SshError):
    """No usable ssh service answered at the address; no command was sent."""

    template = (
        "{host}: no ssh at {address} port {port}: {reason}. Is the host up and the address right?"
    )


class KnownHostsUnusable(SshError):
    """The file of pinned host keys cannot be read, so no host can be trusted."""

    template = "{host}: cannot read the host keys in {known_hosts}: {reason}"


class UnknownHostKey(SshError):
    """The known_hosts file has no key for this host."""

    template = (
        "{host}: {known_hosts} has no host key for {names}; the host shows {key_type} {fingerprint}. Compare it with "
        "`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host's console, then add the line: {line}"
    )


class HostKeyChanged(SshError):
    """The host shows another key than the pinned one."""

    template = (
        "{host}: the host key is not the one in {known_hosts}: {key_type} {fingerprint} shown, {pinned} pinned. "
        "Either another machine answers at {address}, or the host was reinstalled: find out which, then change the file"
    )


class KeyUnusable(SshError):
    """The operator's private key file cannot be used on this side."""

    template = "{host}: the private key {key_file} cannot be used: {reason}"


class KeyRefused(SshError):
    """The host does not accept the operator's key for this account."""

    template = "{host}: {user} may not log in with the key {key_file}: add {key_file}.pub to ~{user}/.ssh/authorized_keys there"


class NoAlgorithm(SshError):
    """The host's sshd and this side have no algorithm in common."""

    template = (
        "{host}: the sshd at {address} offers only algorithms this program no longer speaks ({reason}). An sshd that "
        "knows nothing but SHA-1 cannot be reached: run a newer sshd beside it on another port, or update it"
    )


class TooManySessions(SshError):
    """Every session this connection may have at once was in use for too long; no command was sent."""

    template = (
        "{host}: no session came free within {seconds:g} s, so this was not started: {command}. "
        "Commands given up earlier may still be running there; see also MaxSessions in its sshd_config"
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

    template = "{host}: sudo -n refused ({reason}) for: {command}. {user} needs a NOPASSWD rule in sudoers there"


class CommandFailed(SshError):
    """The command ran and ended with a status other than 0, or by a signal."""

    template = "{host}: {how} from: {command}{tail}"

    @classmethod
    def of(cls, result: "Result", **more) -> "CommandFailed":
        how = f"signal {result.signal}" if result.signal else f"status {result.rc}"
        if result.rc - 128 in set(signal.Signals):  # a shell in between says it this way
            how += f" (signal {signal.Signals(result.rc - 128).name[3:]})"
        said = result.err.strip() or result.out.strip()
        tail = (
            (": " + said[-800:].decode("utf-8", "backslashreplace"))
            if said
            else " (it said nothing)"
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

    template = "{host}: there is no file {path}"


class TimedOut(SshError):
    """The command did not end, or said nothing, for as long as it was given; it may still be running."""

    outcome_unknown = True

    template = (
        "{host}: no {what} within {seconds:g} s from: {command}. It may still be running there"
    )


class TooMuchOutput(SshError):
    """The command wrote more than it may; it was cut off and may still be running."""

    outcome_unknown = True

    template = "{host}: more than {limit} bytes {where} from: {command}"
