"""Measurements: the conversion beside Dovecot's own `doveadm backup` and beside a floor in C, on one store, in one run."""
