"""mail-cutover: a runbook of notebooks that moves a site's mail from UW IMAP to Dovecot."""
