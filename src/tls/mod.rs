//! TLS without sockets: certificates, keys, ciphers, sessions. The network makes connections from an [`Acceptor`].
//!
//! The protocol itself is rustls. What is read here of certificates beyond that is what users are named by and what
//! `INFO` shows.
//!
//! What must stay true: an [`Acceptor`] is made as a whole or not at all, so a bad file leaves the old one in force.

mod acceptor;
mod certificate;
mod der;
mod files;
mod sessions;
mod suites;

pub use acceptor::{Acceptor, CertificateFacts, PeerNames};
