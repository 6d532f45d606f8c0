"""The configuration that has Bacula save the copy each day: jobs, files, schedule, pool.

Jobs are Accurate: Bacula knows what is gone from the copy or was renamed in it. Otherwise each flag
that changed would give a message a second name, and a restore would bring both. The File daemon
holds the list of files in memory for it.
"""

from cutover.facts import backup_copy, bacula

MONTH = 31 + 9  # days: a Full is made on the first of each month, a volume is used for a week

_CONFIG = """# Written by mail-cutover: Bacula's jobs for the copy of the mail store.
# {config} includes this file.
Job {{
  Name = {name}
  Type = Backup
  Level = Incremental
  Accurate = yes
  Client = {client}
  FileSet = {name}
  Schedule = {name}
  Storage = {storage}
  Pool = {name}
  Messages = {name}
  Spool Attributes = yes
  # while a copy is being made, wait for its end
  Client Run Before Job = "/usr/bin/flock --timeout {wait} {lock} true"
}}
Job {{
  Name = {restore}
  Type = Restore
  Client = {client}
  FileSet = {name}
  Storage = {storage}
  Pool = {name}
  Messages = {name}
  Where = {work}
}}
# everything: the lists of UIDs and keywords are what makes files a mailbox
FileSet {{
  Name = {name}
  Include {{
    Options {{
      Signature = SHA1
      NoAtime = yes
    }}
    File = {target}
  }}
}}
Schedule {{
  Name = {name}
  Run = Level=Full on 1 at {at}
  Run = Level=Differential on 2-31 sun at {at}
  Run = Level=Incremental on 2-31 mon-sat at {at}
}}
Pool {{
  Name = {name}
  Pool Type = Backup
  Label Format = "{name}-"
  Maximum Volume Bytes = 20G
  Volume Use Duration = 7 days
  Volume Retention = {keep} days
  File Retention = {keep} days
  Job Retention = {keep} days
  AutoPrune = yes
  Recycle = yes
}}
Messages {{
  Name = {name}
  console = all, !skipped, !restored
  catalog = all, !skipped, !saved, !restored
}}
"""


def text(site) -> str:
    """The file that the Director's configuration includes."""
    parameters = site.backup.bacula
    return _CONFIG.format(
        name=bacula.name(site),
        restore=bacula.restore_job(site),
        config=parameters.config,
        client=parameters.client,
        storage=parameters.storage,
        work=parameters.work,
        target=site.backup.target,
        at=parameters.at,
        keep=parameters.days + MONTH,
        wait=parameters.wait,
        lock=f"{backup_copy.state(site)}/lock",
    )
