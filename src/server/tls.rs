//! TLS as far as the server knows of it: which certificates are in force, and who logs in by one.

use super::Server;
use super::client::Slot;
use crate::config::TlsAuthClientsUser;
use crate::tls::{Acceptor, PeerNames};
use std::sync::Arc;

impl Server {
    /// Sets up TLS as the configuration says, if there is a port for it.
    ///
    /// # Errors
    /// What is wrong with which file or setting; what was in force stays.
    pub fn load_tls(&mut self) -> Result<(), String> {
        if self.config.tls_port != 0 {
            self.tls = Some(Arc::new(Acceptor::load(&self.config, self.facts.wall_clock_us)?));
        }
        Ok(())
    }

    /// Looks whether certificates have been renewed (`tls-auto-reload-interval`), and takes them over.
    pub(super) fn renew_tls(&mut self) {
        if !self.tls.as_ref().is_some_and(|tls| tls.has_changed()) {
            return;
        }
        match self.load_tls() {
            Ok(()) => tracing::info!("TLS materials reloaded successfully"),
            Err(error) => tracing::warn!("TLS materials changed, and the old ones stay in force: {error}"),
        }
    }

    /// Logs a client in as the user whom its certificate names, if there is one of that name. Otherwise it is whoever it
    /// would be without a certificate.
    pub fn log_in_by_certificate(&mut self, slot: Slot, names: &PeerNames) {
        let named: Vec<&str> = match self.config.tls_auth_clients_user {
            TlsAuthClientsUser::Off => return,
            TlsAuthClientsUser::CommonName => names.common_name.as_deref().into_iter().collect(),
            TlsAuthClientsUser::Uri => names.uris.iter().map(String::as_str).collect(),
        };
        let enabled = |name: &&str| self.users.find(name.as_bytes()).filter(|&id| self.users.get(id).is_enabled());
        match named.iter().find_map(enabled) {
            Some(user) => self.log_in(slot, Some(user)),
            None => {
                if let Some(first) = named.first() {
                    self.note_unknown_certificate(slot, first.as_bytes());
                }
            }
        }
    }
}
