"""Has a host flush its mail queues by itself."""

# $1: a lock; $2: seconds for which it goes on once nobody asks any more. Without -qf sendmail forks
# and returns at once, so passes would pile up and flood the mail hosts. Two at a time: one may hang
# on a host that does not answer. The next one begins when somebody asks, else later each time. Time
# is the host's since its start: the clock may be set meanwhile.
_RELEASE = """
echo $(( $(cut -d. -f1 /proc/uptime) + $2 )) > "$1.until"
setsid sh -c 'exec 9> "$1"; flock -n 9 || exit 0
passes() {
  pause=1
  while [ "$(cut -d. -f1 /proc/uptime)" -lt "$(cat "$1.until")" ]; do
    touch "$1.$2"; sendmail -qf; sendmail -Ac -qf
    { sendmail -Ac -bp; sendmail -bp; } | grep -q "^[[:alnum:]]\\{10,\\}" || return
    sleep 1; slept=1
    while [ $slept -lt $pause ] && [ ! "$1.until" -nt "$1.$2" ]; do
      sleep 1; slept=$(( slept + 1 ))
    done
    pause=$(( pause < 30 ? pause * 2 : 60 ))
  done
}
passes "$1" 1 9>&- & passes "$1" 2 9>&- & wait' release "$1" < /dev/null > /dev/null 2>&1 &
"""
LOCK = "/var/run/cutover-release.lock"


def release(hosts, name: str, seconds: int) -> None:
    """Have a host flush its queues by itself until they are empty, whoever is connected.

    It ends after some seconds in which this was not called again.
    """
    hosts.run(name, ["sh", "-c", _RELEASE, "release", LOCK, str(seconds)], sudo=True)
