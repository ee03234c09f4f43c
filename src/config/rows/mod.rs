//! The tables of directives, one file per subject; a new directive is one row there and one field in [`Config`].
//!
//! [`Config`]: super::Config

mod cluster;
mod data;
mod logging;
mod memory;
mod network;
mod persistence;
mod process;
mod registry;
mod replication;
mod security;
mod tls;

pub(super) use registry::find_name;
pub use registry::{Group, directives, find, groups};
