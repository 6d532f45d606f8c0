"""mail-cutover: a runbook of notebooks that moves a site's mail from UW IMAP to Dovecot."""

import sys

# nbformat loads jsonschema, and jsonschema, if it can, a package that builds a grammar of
# internationalized addresses: over a second in every process. No notebook's schema has such a
# field, and jsonschema works without the package.
sys.modules.setdefault("rfc3987_syntax", None)
