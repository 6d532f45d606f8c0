<?php
$$config = [];
include("/etc/roundcube/debian-db-roundcube.php");
$$config['imap_host'] = 'ssl://$alias:993';
$$config['imap_conn_options'] = ['ssl' => [
    'verify_peer' => true, 'verify_peer_name' => true, 'cafile' => '/etc/ssl/lab/ca.pem',
]];
// users' out-of-office form, by ManageSieve with STARTTLS once the step `vacation` has passed
$$config['managesieve_host'] = 'tls://$alias';
$$config['managesieve_conn_options'] = $$config['imap_conn_options'];
$$config['managesieve_vacation'] = 1;
$$config['smtp_host'] = 'localhost:25';
$$config['smtp_user'] = '';
$$config['smtp_pass'] = '';
$$config['mail_domain'] = '$domain';
$$config['des_key'] = '$key';
$$config['plugins'] = ['managesieve'];
$$config['skin'] = 'elastic';
$$config['enable_installer'] = false;
