"""Parameters files: the shipped ones load, mistakes are refused with their line."""

import re

import pytest
from cutover import site

LAB = (site.PROJECT / "parameters" / "lab.yaml").read_text()


def load(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    return site.load(path)


def line_of(text, needle):
    return next(number for number, line in enumerate(text.splitlines(), 1) if needle in line)


@pytest.mark.parametrize("name", ["lab", "roma1"])
def test_shipped_parameters_load(name):
    loaded = site.load(f"parameters/{name}.yaml")
    assert loaded.name == name
    assert loaded.kind == ("rehearsal" if name == "lab" else "production")


@pytest.mark.parametrize(
    "good, bad, where",
    [
        ("  ttl: 5 ", "  tttl: 5 ", "dns.tttl"),
        ("  ttl: 5 ", "  ttl: five ", "dns.ttl"),
        ("zone: lab.test", "zone: Lab_Test", "zone"),
        ("kind: rehearsal", "kind: practice", "kind"),
        ("uid_min: 2000", "uid_minimum: 2000", "users.uid_minimum"),
        ("  key: /var", "  key: var", "ssh.key"),
        ('alice, password: "file:', 'alice, password: "', "production_test.users.0.password"),
        ("  host: postinoauth1", "  host: postinoauth9", "submission.host"),
        ("  host: webmail", "  host: webmali", "webmail.host"),
        ("  url: https:", "  url: http:", "webmail.url"),
        ("  inside: 10.77", "  inside: x10.77", "submission.inside"),
        ("subscribers: [alice, bruno]", "subscribers: [alice, carla]", "lists.0.subscribers"),
        (
            "  - {manager: systemd, name: xinetd}",
            "  - {manager: launchd, name: xinetd}",
            "services.old.imap.1.manager",
        ),
    ],
)
def test_a_mistake_is_refused_with_file_line_and_key(tmp_path, good, bad, where):
    assert good in LAB
    text = LAB.replace(good, bad)
    with pytest.raises(site.BadParameters) as refused:
        load(tmp_path, text)
    assert re.search(
        rf"site\.yaml, line {line_of(text, bad)}: {re.escape(where)}: ", str(refused.value)
    )


def test_a_client_certificate_needs_its_key(tmp_path):
    text = re.sub(r"  key: \S+/client.key\n", "", LAB)
    with pytest.raises(
        site.BadParameters,
        match=rf"line {line_of(text, 'submission:')}: submission: certificate and key",
    ):
        load(tmp_path, text)


def test_every_mistake_is_reported_at_once(tmp_path):
    with pytest.raises(site.BadParameters) as refused:
        load(tmp_path, LAB.replace("zone: lab.test", "zoen: lab.test"))
    assert "zoen: unknown key" in str(refused.value)
    assert "zone: missing" in str(refused.value)


def test_a_key_given_twice_is_refused(tmp_path):
    text = LAB.replace(
        "  source: /etc/mail/userdb\n", "  source: /etc/mail/userdb\n  source: /etc/mail/other\n"
    )
    with pytest.raises(
        site.BadParameters,
        match=rf"line {line_of(text, '/etc/mail/other')}: the key 'source' occurs twice",
    ):
        load(tmp_path, text)


def test_a_nis_server_must_be_a_host(tmp_path):
    with pytest.raises(
        site.BadParameters, match=r"line \d+: nis\.servers\.1: ns3 is not listed under hosts"
    ):
        load(tmp_path, LAB.replace("servers: [ns1, ns2]}", "servers: [ns1, ns3]}"))


def test_a_role_must_be_a_host(tmp_path):
    with pytest.raises(
        site.BadParameters, match=r"line \d+: roles\.mx\.1: postino5 is not listed under hosts"
    ):
        load(tmp_path, LAB.replace("mx: [postino3, postino4]", "mx: [postino3, postino5]"))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1\n", "\tx: 1\n"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path, text):
    with pytest.raises(site.BadParameters, match="site.yaml"):
        load(tmp_path, text)


def test_a_block_that_contains_itself_is_refused(tmp_path):
    with pytest.raises(site.BadParameters, match=r"line \d+: the block contains itself"):
        load(tmp_path, LAB.replace("zone: lab.test", "zone: &zone [*zone]"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(site.BadParameters, match=r"nowhere\.yaml: no such parameters file"):
        site.load(tmp_path / "nowhere.yaml")


def test_where_the_new_host_sees_old_paths():
    store = site.load("parameters/lab.yaml").old_store
    assert store.on_new("/home/alice/mail") == "/srv/mailboxold/home/alice/mail"
    assert store.on_new("/home") == "/srv/mailboxold/home"
    with pytest.raises(site.BadParameters, match="no entry covers /homes/alice"):
        store.on_new("/homes/alice")


def test_mail_outside_is_accepted_by_path_below_a_path_or_by_line(tmp_path):
    text = LAB.replace(
        "  seen_at:", '  accepted: ["{home}/Mail/", "#news.x", "/srv/{user}"]\n  seen_at:'
    )
    store = load(tmp_path, text).old_store
    places = ("/home/a/Mail", "/srv/mailboxold/home/a/Mail/x", "#news.x", "/srv/anna/y")
    assert all(store.accepts(place, "anna", "/home/a") for place in places)
    for place in ("/home/a/Mailing", "/home/b/Mail", "#news.x2", "/srv/bert", "/home/a"):
        assert not store.accepts(place, "anna", "/home/a")
    roots = LAB.replace("  seen_at:", '  roots: [{path: "{home}/x", name: a//b}]\n  seen_at:')
    with pytest.raises(site.BadParameters, match="no empty one"):
        load(tmp_path, roots)


def test_secrets_come_by_reference(tmp_path, monkeypatch):
    (tmp_path / "word").write_text("opensesame\n")
    monkeypatch.setenv("CUTOVER_WORD", "xyzzy")
    assert site.secret(f"file:{tmp_path}/word") == "opensesame"
    assert site.secret("env:CUTOVER_WORD") == "xyzzy"
    with pytest.raises(site.SecretUnreadable, match=r"file:/nowhere/word: No such file"):
        site.secret("file:/nowhere/word")
    with pytest.raises(site.SecretUnreadable, match="env:NOT_SET"):
        site.secret("env:NOT_SET")
