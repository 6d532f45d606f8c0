"""Convert the mail of UW IMAP users (MBX, mbox and others) to Maildir++ as Dovecot keeps it.

Standard library only, Python 3.8 or later. From the ground up; a file imports only from its own
line or from lines above it:

    errors, patterns, files, switch, pool
                              what every part uses; processes that are a user
    formats/                  one file per format, no knowledge of users or of a run
    convert/                  one user: old mail → staged tree, merged with mail on the new side
    publish/                  put a staged tree in place, keep what it replaced, undo
    plan_file, events, tasks, batch, single, compare, inspect_mbx, survey
    command_line, __main__

Within formats/: dates, keywords, line_ends, mbx_header, mbx_lines → mbx → mbox_header → mbox →
mmdf; mbx → tenex, directories; all these → readers; file_names → uidlist → maildir; names and
message_key import none of these.
Within convert/: source → incoming, subscriptions; existing, trash → index, folder_keywords →
delta, salvage → staged → in_use, ranges → folder, prepare, base → merge.
Within publish/: syscalls → records, containers → publish → base, leave, status.
"""

__version__ = "1.0.0"
