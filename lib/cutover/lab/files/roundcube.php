<?php
$$config = [];
include("/etc/roundcube/debian-db-roundcube.php");
$$config['imap_host'] = 'ssl://$alias:993';
$$config['imap_conn_options'] = ['ssl' => ['verify_peer' => true, 'verify_peer_name' => true, 'cafile' => '/etc/ssl/lab/ca.pem']];
$$config['smtp_host'] = 'localhost:25';
$$config['smtp_user'] = '';
$$config['smtp_pass'] = '';
$$config['mail_domain'] = '$domain';
$$config['des_key'] = '$key';
$$config['plugins'] = [];
$$config['skin'] = 'elastic';
$$config['enable_installer'] = false;
