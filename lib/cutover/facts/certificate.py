"""The certificate that the new server presents to users."""

from cutover.connect import tls


def read(site) -> tls.Certificate:
    """The certificate of IMAP on the new server, valid for the alias. Raises BadCertificate."""
    test = site.production_test
    address = site.address(site.roles.new)
    return tls.certificate(address, test.imap_port, site.fqdn(site.alias), test.ca)
