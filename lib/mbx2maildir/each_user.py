"""Something asked of every user of a plan."""

from mbx2maildir import pool


def ask_all(plan, function, argument, unknown):
    """Have function(argument(user), report) done by a process of each user of a plan, as many at a
    time as the plan has jobs. → {user: (value, None) or (unknown, error as errors.describe())}."""
    workers, answers = pool.Pool(plan["jobs"]), {}
    try:
        for user in plan["users"]:
            workers.submit(user["user"], function, argument(user), user=user)
        while workers.pending():
            for name, kind, value in workers.wait(1.0):
                if kind == "done":
                    answers[name] = value, None
                elif kind == "failed":
                    answers[name] = unknown, value
    finally:
        workers.close()
    return answers
