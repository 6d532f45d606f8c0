"""Copy back to the old server what users did on the new one.

A rollback does this once both servers are closed. For each user three states are compared:

- published: what the conversion took over, by the record kept with the published tree;
- new: what Dovecot shows now;
- old: what c-client shows now.

A message below the conversion's UIDNEXT is the same message on both sides, by its UID. Any other
message is recognised by the digest of its text, each copy once: it is in the same folder already,
it was moved from another folder, or it is missing and is appended. Flags follow the change the user
made. A message that was published and is gone from Dovecot was removed by the user: it is removed
from the old folder too, after c-client has copied it to the set-aside directory. Mail that reached
the old server after the switch and that Dovecot does not show stays where it is: it may never have
arrived on the new server. A renamed folder is renamed; a deleted folder stays, with its mail.

The comparison looks only at what is there now, so a run that was killed is simply repeated.

Read in this order:
    published     what the conversion took over
    folders       which folder of the old server belongs to which folder of the new one
    old_names     a name c-client can use for a folder that only Dovecot has
    matching      which messages are the same: by UID, then by content
    user_plan     what to rename, create, append, flag and remove for one user
    execute       do it, through c-client
    refused       what the old server did not accept
    notes         the note kept on the old server for each user
    estimate      what would be copied now, for all users; reads only
    carry_back    the change "carry-back": all of this for every user
    left_behind   the change "leave-behind": keep refused mail in the new server's Maildir
    carry_left    the change "carry-left": copy that mail later
    only_on_old   before decommission: which mail exists on the old server only
"""
