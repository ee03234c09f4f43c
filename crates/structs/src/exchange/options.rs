//! What an exchange is declared to be.

use std::fmt;

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExchangeType {
    /// Bindings whose key is the routing key.
    #[default]
    Direct,
    /// All bindings.
    Fanout,
    /// Bindings whose key, a pattern of words, matches the routing key.
    Topic,
    /// Bindings whose arguments match the headers.
    Headers,
    /// One destination, by consistent hashing of the routing key; keys of bindings are weights.
    Hash,
    /// One binding: the hash of the routing key modulo their number.
    ModHash,
    /// One binding, by chance.
    Random,
}

impl ExchangeType {
    /// All of them.
    pub const ALL: [ExchangeType; 7] = [
        ExchangeType::Direct,
        ExchangeType::Fanout,
        ExchangeType::Topic,
        ExchangeType::Headers,
        ExchangeType::Hash,
        ExchangeType::ModHash,
        ExchangeType::Random,
    ];

    /// The type of a name, in upper or lower case.
    pub fn parse(name: &[u8]) -> Option<ExchangeType> {
        ExchangeType::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Topic => "topic",
            ExchangeType::Headers => "headers",
            ExchangeType::Hash => "hash",
            ExchangeType::ModHash => "modhash",
            ExchangeType::Random => "random",
        }
    }

    /// Whether routing looks at headers: the others need none.
    pub fn reads_headers(self) -> bool {
        self == ExchangeType::Headers
    }
}

impl fmt::Display for ExchangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an exchange was declared with. It does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeOptions {
    /// How it chooses.
    pub kind: ExchangeType,
    /// The exchange that is tried when nothing was found.
    pub alternate: Option<Box<[u8]>>,
    /// It goes with its last binding.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Routing keys are checked against the channels that a user may use.
    pub rkacl: bool,
}

/// What a binding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A queue.
    Queue,
    /// Another exchange.
    Exchange,
    /// A stream, as an entry.
    Stream,
    /// A channel, as a message.
    Channel,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 4] = [Target::Queue, Target::Exchange, Target::Stream, Target::Channel];

    /// The target of a word, in upper or lower case.
    pub fn parse(name: &[u8]) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Target::Queue => "queue",
            Target::Exchange => "exchange",
            Target::Stream => "stream",
            Target::Channel => "channel",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for kind in ExchangeType::ALL {
            assert_eq!(ExchangeType::parse(kind.name().to_uppercase().as_bytes()), Some(kind));
        }
        for target in Target::ALL {
            assert_eq!(Target::parse(target.name().to_uppercase().as_bytes()), Some(target));
        }
        assert_eq!(ExchangeType::parse(b"directly"), None);
        assert_eq!(Target::parse(b""), None);
    }
}
