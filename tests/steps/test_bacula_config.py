"""What Bacula is configured to save of the copy."""

import re

from cutover import site
from cutover.steps.checks import bacula_config


def test_the_job_takes_everything_keeps_longer_than_a_month_and_waits_for_the_copy():
    lab = site.load("parameters/lab.yaml")
    text = bacula_config.text(lab)
    assert (
        f"File = {lab.backup.target}\n" in text
        and "Exclude" not in text
        and "Accurate = yes" in text
    )
    assert (
        set(re.findall(r"Retention = (\d+) days", text)) == {"100"} and lab.backup.bacula.days == 60
    )
    assert (
        "flock --timeout 86400 /var/lib/mailbackup/lock true" in text
        and text.count(" at 05:30") == 3
    )
