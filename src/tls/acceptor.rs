//! Everything that TLS connections have in common: made from the configuration and its files as a whole, or not at all.

use super::certificate::Certificate;
use super::files;
use super::sessions::Sessions;
use super::suites;
use crate::config::{Config, TlsAuthClients};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, WantsVerifier};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What new TLS connections are made from. Connections that exist keep the one that they were made from.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    /// The server's own certificate.
    pub server: CertificateFacts,
    /// The one for outgoing connections, where there is one of its own.
    pub client: Option<CertificateFacts>,
    /// The authority whose certificate expires first.
    pub authority: Option<CertificateFacts>,
    watched: Vec<(PathBuf, Option<Stamp>)>,
}

/// What `INFO` tells of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// Serial number, in hexadecimal digits.
    pub serial: String,
    /// When it expires, in unix seconds.
    pub not_after_s: i64,
}

/// By what a file is known to be another one than before.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stamp {
    modified: (i64, i64),
    inode: u64,
    bytes: u64,
}

impl Acceptor {
    /// Reads the files that the configuration names, and checks that they fit together. `wall_clock_us` tells how old
    /// sessions are. Takes about a millisecond, with a large bundle of authorities some more.
    ///
    /// # Errors
    /// What is wrong with which file or setting, for the log.
    pub fn load(config: &Config, wall_clock_us: fn() -> i64) -> Result<Acceptor, String> {
        let certificate_file = config.tls_cert_file.as_deref().ok_or("No tls-cert-file configured!")?;
        let key_file = config.tls_key_file.as_deref().ok_or("No tls-key-file configured!")?;
        // Taken first, so that a file which is replaced while it is read counts as changed.
        let watched = watched(config).into_iter().map(|path| (stamp(&path), path)).map(|(s, p)| (p, s)).collect();
        let chain = files::certificates(&config.path_in_dir(certificate_file))
            .map_err(|error| format!("Failed to load certificate: {certificate_file}: {error}"))?;
        let key = files::private_key(&config.path_in_dir(key_file), config.tls_key_file_pass.as_deref());
        let key = key.and_then(|key| ring::sign::any_supported_type(&key).map_err(|error| error.to_string()));
        let key = key.map_err(|error| format!("Failed to load private key: {key_file}: {error}"))?;
        let server = facts(&chain[0]).ok_or_else(|| {
            format!("Failed to load certificate: {certificate_file}: it holds something that is no certificate")
        })?;
        if let (Some(public), Some(certificate)) = (key.public_key(), Certificate::parse(&chain[0]))
            && public.as_ref() != certificate.public_key()
        {
            return Err(format!(
                "Failed to load private key: {key_file}: it is not the key of the certificate in {certificate_file}"
            ));
        }
        let (roots, authority) = authorities(config)?;
        let builder = verifier(config, roots)?;
        let mut made = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
        if config.tls_session_caching {
            let (count, seconds) = (config.tls_session_cache_size, config.tls_session_cache_timeout);
            made.session_storage = Arc::new(Sessions::new(count, seconds, wall_clock_us));
            made.send_tls13_tickets = 1;
        } else {
            made.session_storage = Arc::new(NoServerSessionStorage {});
            made.send_tls13_tickets = 0;
        }
        made.ignore_client_order = config.tls_prefer_server_ciphers;
        let client = config.tls_client_cert_file.as_deref().and_then(|file| {
            let found = files::certificates(&config.path_in_dir(file));
            found.map_err(|error| tracing::warn!("could not read tls-client-cert-file {file}: {error}")).ok()
        });
        let client = client.and_then(|chain| facts(chain.first()?));
        Ok(Acceptor { config: Arc::new(made), server, client, authority, watched })
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// None that a client could cause.
    pub fn session(&self) -> Result<UnbufferedServerConnection, rustls::Error> {
        UnbufferedServerConnection::new(self.config.clone())
    }

    /// Whether a file is another one than the one that was read. Asks the file system.
    pub fn has_changed(&self) -> bool {
        self.watched.iter().any(|(path, before)| stamp(path) != *before)
    }
}

/// Files and folders whose change means that everything is to be read anew.
fn watched(config: &Config) -> Vec<PathBuf> {
    let names = [
        &config.tls_cert_file,
        &config.tls_key_file,
        &config.tls_ca_cert_file,
        &config.tls_ca_cert_dir,
        &config.tls_client_cert_file,
    ];
    names.into_iter().flatten().map(|name| config.path_in_dir(name)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some(Stamp { modified, inode: metadata.ino(), bytes: metadata.len() })
}

fn facts(certificate: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let parsed = Certificate::parse(certificate)?;
    Some(CertificateFacts { serial: parsed.serial(), not_after_s: parsed.not_after_s() })
}

/// The authorities that clients' certificates are checked against, and what is told of the one that expires first.
fn authorities(config: &Config) -> Result<(RootCertStore, Option<CertificateFacts>), String> {
    let failed =
        |name: &str, error: &str| format!("Failed to configure CA certificate(s) file/directory: {name}: {error}");
    let mut found = Vec::new();
    if let Some(file) = config.tls_ca_cert_file.as_deref() {
        found = files::certificates(&config.path_in_dir(file)).map_err(|error| failed(file, &error))?;
    }
    if let Some(folder) = config.tls_ca_cert_dir.as_deref() {
        found.extend(
            files::certificates_of_folder(&config.path_in_dir(folder)).map_err(|error| failed(folder, &error))?,
        );
    }
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(found.iter().cloned());
    if unusable > 0 {
        tracing::warn!("{unusable} certificates of tls-ca-cert-file or tls-ca-cert-dir cannot be used as authorities");
    }
    let first = found.iter().filter_map(facts).min_by_key(|facts| facts.not_after_s);
    Ok((roots, first))
}

/// Who may connect, with which versions and ciphers.
fn verifier(
    config: &Config,
    roots: RootCertStore,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>, String> {
    let versions = suites::versions(config.tls_protocols.as_deref())?;
    if !versions.missing.is_empty() {
        tracing::warn!("tls-protocols: {} is not offered, since it is not safe", versions.missing.join(" and "));
    }
    let mut cipher_suites = suites::ciphersuites(config.tls_ciphersuites.as_deref())?;
    cipher_suites.extend(suites::ciphers(config.tls_ciphers.as_deref())?);
    let provider = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
    let builder: rustls::ConfigBuilder<ServerConfig, WantsVerifier> =
        ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions.allowed)
            .map_err(|error| error.to_string())?;
    if config.tls_auth_clients == TlsAuthClients::No {
        return Ok(builder.with_no_client_auth());
    }
    if roots.is_empty() {
        return Err(
            "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
                    tls-auth-clients are enabled!"
                .to_owned(),
        );
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier =
        if config.tls_auth_clients == TlsAuthClients::Optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| format!("Failed to configure CA certificate(s): {error}"))?;
    Ok(builder.with_client_cert_verifier(verifier))
}

/// The names in a client's certificate that may be a user's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerNames {
    /// The common name of its subject.
    pub common_name: Option<String>,
    /// The URIs among its alternative names.
    pub uris: Vec<String>,
}

impl PeerNames {
    /// Of a certificate in DER; none of what is no certificate.
    pub fn of(certificate: &[u8]) -> PeerNames {
        let Some(certificate) = Certificate::parse(certificate) else { return PeerNames::default() };
        PeerNames {
            common_name: certificate.common_name().map(str::to_owned),
            uris: certificate.uris().into_iter().map(str::to_owned).collect(),
        }
    }
}
