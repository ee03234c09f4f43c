//! Directives of TLS.

use super::super::directive::{Apply, Directive, INT_MAX, choice, flag, int, optional_text, piece, row, secret};
use super::super::values::{TlsAuthClients, TlsAuthClientsUser};

const OUTGOING: &str = "the server opens no connections of its own yet";

/// A TLS row: applied by setting TLS up anew.
const fn tls(directive: Directive) -> Directive {
    directive.apply(Apply::Tls)
}

pub(super) static ROWS: &[Directive] = &[
    row("tls-port", int!(tls_port, 0, 65535), "0")
        .apply(Apply::Listeners)
        .doc("TCP port for TLS connections; 0 opens none."),
    tls(row("tls-cert-file", optional_text!(tls_cert_file), "")).doc("The server's certificate, in PEM."),
    tls(row("tls-key-file", optional_text!(tls_key_file), "")).doc("The certificate's private key, in PEM."),
    tls(row("tls-key-file-pass", secret!(tls_key_file_pass), "")).sensitive().doc("Password of the private key."),
    tls(row("tls-client-cert-file", optional_text!(tls_client_cert_file), ""))
        .until(piece::REPLICATION, OUTGOING)
        .doc("Certificate for outgoing connections, if it is another one."),
    tls(row("tls-client-key-file", optional_text!(tls_client_key_file), ""))
        .until(piece::REPLICATION, OUTGOING)
        .doc("Private key of the certificate for outgoing connections."),
    tls(row("tls-client-key-file-pass", secret!(tls_client_key_file_pass), ""))
        .until(piece::REPLICATION, OUTGOING)
        .sensitive()
        .doc("Password of the private key for outgoing connections."),
    tls(row("tls-dh-params-file", optional_text!(tls_dh_params_file), ""))
        .not_needed("key exchange uses elliptic curves only")
        .doc("Diffie-Hellman parameters for old ciphers."),
    tls(row("tls-ca-cert-file", optional_text!(tls_ca_cert_file), ""))
        .doc("Certificates of the authorities that peers are checked against."),
    tls(row("tls-ca-cert-dir", optional_text!(tls_ca_cert_dir), ""))
        .doc("Folder of certificates of the authorities that peers are checked against."),
    tls(row("tls-auth-clients", choice!(tls_auth_clients, TlsAuthClients), "yes"))
        .doc("Whether clients must, may or need not present a certificate."),
    tls(row("tls-auth-clients-user", choice!(tls_auth_clients_user, TlsAuthClientsUser), "off"))
        .doc("Field of a client's certificate that names the user it is logged in as."),
    tls(row("tls-replication", flag!(tls_replication), "no"))
        .until(piece::REPLICATION, OUTGOING)
        .doc("Replicates over TLS."),
    tls(row("tls-cluster", flag!(tls_cluster), "no"))
        .until(piece::CLUSTER, "there are no other nodes yet")
        .doc("Speaks to other cluster nodes over TLS."),
    tls(row("tls-protocols", optional_text!(tls_protocols), ""))
        .doc("Protocol versions that are allowed, such as `TLSv1.2 TLSv1.3`; empty allows these two."),
    tls(row("tls-ciphers", optional_text!(tls_ciphers), "")).doc("Ciphers allowed for TLS 1.2."),
    tls(row("tls-ciphersuites", optional_text!(tls_ciphersuites), "")).doc("Cipher suites allowed for TLS 1.3."),
    tls(row("tls-prefer-server-ciphers", flag!(tls_prefer_server_ciphers), "no"))
        .doc("Lets the server's order of ciphers decide instead of the client's."),
    tls(row("tls-session-caching", flag!(tls_session_caching), "yes")).doc("Lets clients resume sessions."),
    tls(row("tls-session-cache-size", int!(tls_session_cache_size, 0, INT_MAX), "20480"))
        .doc("Sessions that are remembered; 0 means any number."),
    tls(row("tls-session-cache-timeout", int!(tls_session_cache_timeout, 0, INT_MAX), "300"))
        .doc("Seconds for which a session is remembered."),
    tls(row("tls-auto-reload-interval", int!(tls_auto_reload_interval, 0, INT_MAX), "0"))
        .doc("Seconds between looks for renewed certificate files; 0 never looks."),
];
