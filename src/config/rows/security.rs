//! Directives of passwords and ACL users.

use super::super::directive::Kind::Special;
use super::super::directive::{Apply, Directive, LONG_MAX, choice, int, optional_text, row, secret};
use super::super::special;
use super::super::values::AclPubsubDefault;

pub(super) static ROWS: &[Directive] = &[
    row("requirepass", secret!(requirepass), "")
        .sensitive()
        .apply(Apply::DefaultUser)
        .doc("Password of the default user; empty asks for none."),
    row("aclfile", optional_text!(aclfile), "").immutable().doc("File of ACL users."),
    row("acl-pubsub-default", choice!(acl_pubsub_default, AclPubsubDefault), "resetchannels")
        .doc("Channels that a new user may use: all or none."),
    row("acllog-max-len", int!(acllog_max_len, 0, LONG_MAX), "128")
        .apply(Apply::AclLog)
        .doc("Refused attempts that are remembered."),
    row("user", Special(&special::USER), "").multi_arg().immutable().file_only().doc("Declares one ACL user."),
];
