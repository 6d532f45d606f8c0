"""Reading mail as a client does: the second reader, which shares no code with the converter.

Folders are only ever EXAMINEd and bodies only PEEKed at, so reading leaves no trace. The verbs
that write are for test mail and for a rollback that carries back what users did. One session is
for one thread. Folder names are str, decoded from modified UTF-7 without loss (names.decode_name).
"""

from cutover.connect.imap.errors import (
    CertificateRefused,
    CommandRefused,
    FolderUnreadable,
    ImapError,
    LoginRefused,
    NoImap,
    NotPreauthenticated,
    SessionLost,
)
from cutover.connect.imap.login import login, preauth
from cutover.connect.imap.messages import (
    BATCH_BYTES,
    BATCH_MESSAGES,
    Digest,
    Folder,
    Message,
    batches,
)
from cutover.connect.imap.names import decode_name, encode_name
from cutover.connect.imap.session import Session
from cutover.connect.imap.together import TOGETHER, read_together, status_together

__all__ = [
    "BATCH_BYTES",
    "BATCH_MESSAGES",
    "CertificateRefused",
    "CommandRefused",
    "Digest",
    "Folder",
    "FolderUnreadable",
    "ImapError",
    "LoginRefused",
    "Message",
    "NoImap",
    "NotPreauthenticated",
    "Session",
    "SessionLost",
    "TOGETHER",
    "batches",
    "decode_name",
    "encode_name",
    "login",
    "preauth",
    "read_together",
    "status_together",
]
