"""The mailbox formats that are read, and which one a file is to c-client."""

from mbx2maildir.formats import directories, mbox, mbx, mbx_header, mmdf, tenex

HEAD = 4096  # bytes at the beginning of a file that kind() needs
MAILBOXES = {
    "mbx": mbx.Mailbox,
    "mtx": tenex.Mailbox,
    "tenex": tenex.Mailbox,
    "mmdf": mmdf.Mailbox,
    "mbox": mbox.Mailbox,
    "mx": directories.Mx,
    "mix": directories.Mix,
}


def kind(block):
    """What a file is by its first bytes: a key of MAILBOXES, or ""."""
    if block.startswith(mbx_header.MAGIC):
        return "mbx"
    return (
        tenex.kind(block)
        or ("mmdf" if mmdf.is_mmdf(block) else "")
        or ("mbox" if mbox.is_mbox(block) else "")
    )
