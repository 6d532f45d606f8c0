"""The page of mail programs says what a program lost, fetched again and complained of."""

import client_table


def outcome(folders, messages=0, errors=(), flags=((("INBOX"), "S", 3),)):
    return {
        "folders": list(folders),
        "messages": messages,
        "errors": list(errors),
        "flags": [list(flag) for flag in flags],
    }


def test_each_row_adds_up_both_users():
    before = {user: outcome(["INBOX", "work"]) for user in ("rita", "walter")}
    lost = {
        "rita": before["rita"],
        "walter": outcome(["INBOX"], 2, ["no work"], [["INBOX", "", 3]]),
    }
    page = client_table.page(
        {
            "date": "2026-03-14",
            "dovecot": "2.3.19",
            "compatibility": ["mail/"],
            "listed": [],
            "stages": {
                "before": {"mbsync": before, "alpine": before},
                "with": {"mbsync": before, "alpine": before},
                "without": {"mbsync": lost, "alpine": lost},
                "back": {"mbsync": before, "alpine": before},
            },
        }
    )
    assert page.count("| mbsync | 4 of 4 | 0 | 0 | yes |") == 2
    assert "| mbsync | 3 of 4 | 2 | 1 | no |" in page
    assert "| alpine | 3 of 4 | keeps no copy | 1 | – |" in page
