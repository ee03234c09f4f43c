//! What commands of the registry use: stores, which are keys, and paths in them, for which there are permissions of their own.
//!
//! Namespaces, and the names of locks and elections, are paths. What is below them, and what follows on a path that is
//! numbered, is named by how it begins. Keys of locks and elections are what is right below a name, so their holders are asked
//! for the name. A command that is not in the table uses the whole of its store.
//!
//! Options are walked over, so that no value is taken for a word. What two options would contradict each other about is the
//! wider of both: the command refuses it.

use super::broker::{Options, number, push, words};
use super::{KeyUse, Resolver, find_keys};
use crate::acl::{Access, Extent, PathName};
use crate::command::args::{Words, is};
use crate::command::spec::KeyFlags;
use crate::server::commands::cfg::txn::uses as transaction_uses;
use crate::server::table::Command;
use weir_resp::Argv;
use weir_structs::number::parse_u64;
use weir_structs::tree::{Lease, PATH_BYTES_MAX, Span, Tree};

/// Keys whose use depends on other arguments.
pub(super) const RESOLVERS: &[(&str, Resolver)] = &[
    ("cfg.put", |argv, found| push_store(argv, found, put)),
    ("cfg.del", |argv, found| push_store(argv, found, del)),
    ("cfg.poll", poll_keys),
];

/// What a call uses in stores. Whatever the call, something is named for each of its keys. `tree`: what is at a key now.
pub(in crate::server) fn names_of<'a>(
    command: &Command,
    argv: Argv<'a>,
    tree: &dyn Fn(&[u8]) -> Option<&'a Tree>,
) -> Vec<PathName<'a>> {
    if let Some((_, name)) = NAMES.iter().find(|(name, _)| *name == command.full_name) {
        let store_at = if command.full_name.contains('|') { 2 } else { 1 };
        let tree = argv.get(store_at).and_then(tree);
        let mut names = Names { argv, store_at, tree, found: Vec::new() };
        name(&mut names);
        return names.found;
    }
    let mut keys = Vec::new();
    // Where the arguments do not have the form of the command, it is the command that says so.
    let _ = find_keys(command.spec, argv, &mut keys);
    let whole = |key: KeyUse| PathName {
        store: argv.at(key.at),
        parts: [b"", b"", b""],
        extent: Extent::Store,
        access: Access::needed(key.flags),
        at: key.at,
    };
    keys.into_iter().map(whole).collect()
}

/// Paths of a store, whoever names them.
pub(in crate::server) fn name_of_span<'a>(store: &'a [u8], span: Span<'a>, access: Access) -> PathName<'a> {
    let (path, behind, extent): (_, &[u8], _) = match span {
        Span::One(path) => (path, b"", Extent::Path),
        Span::Prefix(path) => (path, b"", Extent::Beginning),
        Span::Range(from, to) => (common(from, to), b"", Extent::Beginning),
        Span::Children(path) => (path, if path.ends_with(b"/") { b"" } else { b"/" }, Extent::Beginning),
    };
    PathName { store, parts: [path, behind, b""], extent, access, at: 0 }
}

/// What a call uses, as it is found. The path stands behind the store.
struct Names<'a> {
    argv: Argv<'a>,
    store_at: usize,
    tree: Option<&'a Tree>,
    found: Vec<PathName<'a>>,
}

type Find = for<'a> fn(&mut Names<'a>);

const NAMES: &[(&str, Find)] = &[
    ("cfg.put", put),
    ("cfg.create", create),
    ("cfg.del", del),
    ("cfg.get", |names| names.path(Access::READ)),
    ("cfg.range", |names| names.span(RANGE)),
    ("cfg.watch", |names| names.span(WATCH)),
    ("cfg.poll", poll),
    ("cfg.txn", txn),
    ("cfg.history", |names| names.path(Access::READ)),
    ("cfg.lease|grant", |names| names.something(Access::WRITE)),
    ("cfg.lease|keepalive", |names| names.something(Access::WRITE)),
    ("cfg.lease|revoke", |names| names.of_lease(Access::WRITE)),
    ("cfg.lease|ttl", lease_ttl),
    ("cfg.lock", |names| names.path(Access::WRITE)),
    ("cfg.unlock", |names| names.name_of_key(Access::WRITE)),
    ("cfg.elect|campaign", |names| names.path(Access::WRITE)),
    ("cfg.elect|proclaim", |names| names.name_of_key(Access::WRITE)),
    ("cfg.elect|resign", |names| names.name_of_key(Access::WRITE)),
    ("cfg.elect|leader", |names| names.path(Access::READ)),
    ("cfg.draft|set", |names| names.draft(Access::WRITE)),
    ("cfg.draft|del", |names| names.draft(Access::WRITE)),
    ("cfg.draft|show", |names| names.draft(Access::READ)),
    ("cfg.draft|discard", |names| names.draft(Access::WRITE)),
    ("cfg.publish", |names| names.below(Access::WRITE)),
    ("cfg.releases", |names| names.below(Access::READ)),
    ("cfg.rollback", |names| names.below(Access::WRITE)),
    ("cfg.gray|set", |names| names.below(Access::WRITE)),
    ("cfg.gray|promote", |names| names.below(Access::WRITE)),
    ("cfg.gray|abandon", |names| names.below(Access::WRITE)),
    ("cfg.gray|list", |names| names.below(Access::READ)),
    ("cfg.client|who", |names| names.below(Access::READ)),
    ("cfg.import", |names| names.below(Access::WRITE)),
    ("cfg.export", |names| names.below(Access::READ)),
];

const PUT: Options = &[("LEASE", 1), ("IFMOD", 1), ("IFVER", 1), ("IFDIGEST", 1), ("FLAGS", 1)];
const CREATE: Options = &[("LEASE", 1)];
const DEL: Options = &[("IFMOD", 1)];
const RANGE: Options = &[("TO", 1), ("AT", 1), ("LIMIT", 1), ("SORT", 1), ("MINMOD", 1), ("MAXMOD", 1)];
const WATCH: Options = &[("TO", 1), ("ID", 1), ("FROM", 1), ("EPOCH", 1), ("PROGRESS", 1)];
const POLL: Options = &[("BLOCK", 1), ("COUNT", 1), ("JITTER", 1)];

/// `CFG.PUT s path value .. [PREV]`
fn put(names: &mut Names<'_>) {
    let access = names.access_with_prev(4, PUT);
    names.path(access);
}

/// `CFG.CREATE s path value .. [SEQ] [PARENT]`: a number follows on the path; parents that are not there are made.
fn create(names: &mut Names<'_>) {
    let extent = if names.has("SEQ", 4, CREATE) { Extent::Beginning } else { Extent::Path };
    names.push(extent, "", Access::WRITE);
    if names.has("PARENT", 4, CREATE) {
        // Of what is too long to be a path nothing is made.
        let path = Some(names.arg(2)).filter(|path| path.len() <= PATH_BYTES_MAX).unwrap_or_default();
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for parent in ends.filter_map(|end| path.get(..end)) {
            if names.tree.is_none_or(|tree| tree.get(parent).is_none()) {
                names.push_parts([parent, b"", b""], Extent::Path, Access::WRITE);
            }
        }
    }
}

/// `CFG.LEASE TTL s id [KEYS]`
fn lease_ttl(names: &mut Names<'_>) {
    if names.argv.len() > 4 { names.of_lease(Access::READ) } else { names.something(Access::empty()) }
}

/// A transaction is read as it is when it runs. What is none changes nothing, and its command says so.
fn txn(names: &mut Names<'_>) {
    names.something(Access::empty());
    for (span, access) in transaction_uses(Words::new(names.argv, 2)).unwrap_or_default() {
        names.span_of(span, access);
    }
}

/// `CFG.DEL s path [PREFIX] .. [PREV]`
fn del(names: &mut Names<'_>) {
    let extent = if names.has("PREFIX", 3, DEL) { Extent::Beginning } else { Extent::Path };
    let access = names.access_with_prev(3, DEL);
    names.push(extent, "", access);
}

/// `CFG.POLL .. STORES n (s path PREFIX|EXACT revision epoch)*`
fn poll(names: &mut Names<'_>) {
    let argv = names.argv;
    for at in polled(argv) {
        names.store_at = at;
        let exact = argv.get(at + 2).is_some_and(|kind| is(kind, "EXACT"));
        names.push(if exact { Extent::Path } else { Extent::Beginning }, "", Access::READ);
    }
}

fn poll_keys(argv: Argv<'_>, found: &mut Vec<KeyUse>) {
    found.extend(polled(argv).map(|at| KeyUse { at, flags: KeyFlags::RO | KeyFlags::ACCESS }));
}

/// Where the stores of CFG.POLL stand.
fn polled(argv: Argv<'_>) -> impl Iterator<Item = usize> {
    let stores = words(argv, 1, POLL).find(|at| is(argv.at(*at), "STORES")).unwrap_or(argv.len());
    (stores + 2..argv.len()).step_by(5).take(number(argv, stores + 1))
}

/// The store with what is done in it.
fn push_store(argv: Argv<'_>, found: &mut Vec<KeyUse>, find: Find) {
    let mut names = Names { argv, store_at: 1, tree: None, found: Vec::new() };
    find(&mut names);
    let access = names.found.iter().fold(Access::empty(), |sum, name| sum | name.access);
    let mut flags = if access.contains(Access::WRITE) { KeyFlags::RW | KeyFlags::UPDATE } else { KeyFlags::RO };
    flags.set(KeyFlags::ACCESS, access.contains(Access::READ));
    push(argv, found, 1, flags);
}

impl<'a> Names<'a> {
    /// An argument; without bytes if it is not there, which no path is.
    fn arg(&self, at: usize) -> &'a [u8] {
        self.argv.get(at).unwrap_or_default()
    }

    /// The argument behind the store with something behind it.
    fn push(&mut self, extent: Extent, behind: &'static str, access: Access) {
        let path = self.arg(self.store_at + 1);
        self.push_parts([path, behind.as_bytes(), b""], extent, access);
    }

    fn push_parts(&mut self, parts: [&'a [u8]; 3], extent: Extent, access: Access) {
        let (store, at) = (self.arg(self.store_at), self.store_at + 1);
        self.found.push(PathName { store, parts, extent, access, at: at.min(self.argv.len().saturating_sub(1)) });
    }

    /// Whether this word is among the options.
    fn has(&self, word: &str, from: usize, options: Options) -> bool {
        words(self.argv, from, options).any(|at| is(self.argv.at(at), word))
    }

    /// What a writer needs, who may ask for what was there before.
    fn access_with_prev(&self, from: usize, options: Options) -> Access {
        if self.has("PREV", from, options) { Access::all() } else { Access::WRITE }
    }

    /// The path.
    fn path(&mut self, access: Access) {
        self.push(Extent::Path, "", access);
    }

    /// Any path of the store.
    fn something(&mut self, access: Access) {
        // Not as telling as a path that is refused.
        let (store, at) = (self.arg(self.store_at), self.store_at);
        self.found.push(PathName { store, parts: [b"/", b"", b""], extent: Extent::Something, access, at });
    }

    /// Every path that is attached to the lease behind the store.
    fn of_lease(&mut self, access: Access) {
        let id = self.argv.get(self.store_at + 1).and_then(parse_u64);
        let lease = self.tree.zip(id).and_then(|(tree, id)| tree.lease(id));
        for path in lease.into_iter().flat_map(Lease::paths) {
            self.push_parts([path, b"", b""], Extent::Path, access);
        }
        self.something(access);
    }

    /// Paths as commands name them.
    fn span_of(&mut self, span: Span<'a>, access: Access) {
        let (store, at) = (self.arg(self.store_at), (self.store_at + 1).min(self.argv.len().saturating_sub(1)));
        self.found.push(PathName { at, ..name_of_span(store, span, access) });
    }

    /// What is below the path.
    fn below(&mut self, access: Access) {
        let slash = if self.arg(self.store_at + 1).ends_with(b"/") { "" } else { "/" };
        self.push(Extent::Beginning, slash, access);
    }

    /// `path [PREFIX | TO end | CHILDREN]`: two ends have in common what everything between them begins with.
    fn span(&mut self, options: Options) {
        let (argv, path) = (self.argv, self.arg(self.store_at + 1));
        let (mut beginning, mut wide, mut children) = (path, false, false);
        for at in words(argv, self.store_at + 2, options) {
            let word = argv.at(at);
            if is(word, "TO") {
                beginning = common(beginning, self.arg(at + 1));
            }
            wide |= is(word, "TO") || is(word, "PREFIX");
            children |= is(word, "CHILDREN");
        }
        match (wide, children) {
            (true, _) => self.push_parts([beginning, b"", b""], Extent::Beginning, Access::READ),
            (false, true) => self.below(Access::READ),
            (false, false) => self.path(Access::READ),
        }
    }

    /// A key of a lock or an election stands right below the name.
    fn name_of_key(&mut self, access: Access) {
        let key = self.arg(self.store_at + 1);
        let end = key.iter().rposition(|&byte| byte == b'/').unwrap_or(key.len());
        self.push_parts([key.get(..end).unwrap_or_default(), b"", b""], Extent::Path, access);
    }

    /// `namespace [path]`: one path below, or all of them.
    fn draft(&mut self, access: Access) {
        let (namespace, path) = (self.arg(self.store_at + 1), self.argv.get(self.store_at + 2));
        match path {
            Some(path) => {
                let slash: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
                self.push_parts([namespace, slash, path], Extent::Path, access);
            }
            None => self.below(access),
        }
    }
}

/// What two have in common from their beginnings on.
fn common<'a>(one: &'a [u8], other: &[u8]) -> &'a [u8] {
    let len = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    one.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::{Acl, Flags, Group, Spec};
    use crate::server::table::Run;
    use weir_resp::Batch;
    use weir_structs::tree::Write;

    /// Line, then `store:path how` for each name; `*` behind what is only the beginning, nothing but the store where all of it
    /// is meant, `~` where anything in it will do.
    fn names(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let container =
            NAMES.iter().any(|(name, _)| name.split('|').next() == words.first().copied() && name.contains('|'));
        let full_name = if container { words[..2].join("|") } else { words[0].to_owned() };
        let spec = Spec::new("x", -1, Flags::empty(), Acl::empty(), Group::Registry, "1.0.0");
        let command = Command {
            spec: Box::leak(Box::new(spec)),
            full_name: full_name.leak(),
            id: 0,
            run: Run::Nothing,
            subs: Vec::new(),
            first_key_at: None,
            only_key: None,
        };
        let mut batch = Batch::new();
        batch.push_command(words.iter().map(|word| word.as_bytes())).unwrap();
        let mut tree = Tree::new(1);
        tree.grant(5, 1, false, 1);
        for (path, lease) in [("/there", 0), ("/leased/a", 5), ("/leased/b", 5)] {
            tree.write(1, 0, Write::Put { path: path.as_bytes(), value: b"", lease, flags: 0 });
        }
        let names = names_of(&command, batch.command(0), &|store| (store == b"s").then_some(&tree));
        let text = |name: &PathName<'_>| {
            let path = String::from_utf8(name.parts.concat()).unwrap();
            let store = String::from_utf8(name.store.to_vec()).unwrap();
            let name_of = match name.extent {
                Extent::Store => store,
                Extent::Path => format!("{store}:{path}"),
                Extent::Beginning => format!("{store}:{path}*"),
                Extent::Something => format!("{store}~"),
            };
            let how = [(Access::READ, 'R'), (Access::WRITE, 'W')];
            let how: String =
                how.into_iter().filter(|(kind, _)| name.access.contains(*kind)).map(|(_, how)| how).collect();
            format!("{name_of} {how}")
        };
        names.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn values_of_options_are_not_taken_for_words() {
        for (line, wanted) in [
            ("cfg.put s /a v", "s:/a W"),
            ("cfg.put s /a prev", "s:/a W"),
            ("cfg.put s /a v lease 5 nx prev", "s:/a RW"),
            ("cfg.put s /a v ifdigest prev flags prev lease prev", "s:/a W"),
            ("cfg.create s /a seq", "s:/a W"),
            ("cfg.create s /a v parent lease seq", "s:/a W"),
            ("cfg.create s /a v parent Seq", "s:/a* W"),
            ("cfg.del s /a", "s:/a W"),
            ("cfg.del s prefix ifmod prefix", "s:prefix W"),
            ("cfg.del s /a ifmod 3 prefix prev", "s:/a* RW"),
            ("cfg.get s /a at 5 meta", "s:/a R"),
            ("cfg.history s /a count 5", "s:/a R"),
            ("cfg.range s /a", "s:/a R"),
            ("cfg.range s /a keysonly prefix", "s:/a* R"),
            ("cfg.range s /a limit prefix sort children asc", "s:/a R"),
            ("cfg.range s /a children", "s:/a/* R"),
            ("cfg.range s / children", "s:/* R"),
            ("cfg.range s /app/a limit 3 to /app/c", "s:/app/* R"),
            ("cfg.range s /a to", "s:* R"),
            ("cfg.range s /a to /ab children to /b", "s:/* R"),
            ("cfg.range s /a children prefix", "s:/a* R"),
            ("cfg.range s", "s: R"),
            ("cfg.watch s /a id prefix from prefix epoch to progress to", "s:/a R"),
            ("cfg.watch s /a once snapshot prefix", "s:/a* R"),
            ("cfg.poll stores 2 s /a exact 1 2 t /b/ prefix 3 4", "s:/a R, t:/b/* R"),
            ("cfg.poll block stores count stores stores 1 s /a exact 1 2", "s:/a R"),
            ("cfg.poll stores 1 s /a exact 1 2 t /b exact 1 2", "s:/a R"),
            ("cfg.poll stores 9223372036854775807 s", "s:* R"),
            ("cfg.poll stores -1 s /a", ""),
            ("cfg.poll stores", ""),
            ("cfg.poll", ""),
            ("cfg.lease grant s 1000", "s~ W"),
            ("cfg.lease keepalive s 1 2", "s~ W"),
            ("cfg.lease revoke s 5", "s:/leased/a W, s:/leased/b W, s~ W"),
            ("cfg.lease revoke s 6", "s~ W"),
            ("cfg.lease revoke t 5", "t~ W"),
            ("cfg.lease ttl s 5", "s~ "),
            ("cfg.lease ttl s 5 keys", "s:/leased/a R, s:/leased/b R, s~ R"),
            ("cfg.create s /there/b/c v parent", "s:/there/b/c W, s:/there/b W"),
            ("cfg.create s /new/b v parent seq", "s:/new/b* W, s:/new W"),
            ("cfg.create t /there/b v parent", "t:/there/b W, t:/there W"),
            ("cfg.txn s if 1 /a value = put then 1 put /put put", "s~ , s:/a R, s:/put W"),
            ("cfg.txn s then 2 del /a prefix range /b to /bc else 1 get /c", "s~ , s:/a* W, s:/b* R, s:/c R"),
            ("cfg.txn s then 1 range /b children limit 5", "s~ , s:/b/* R"),
            ("cfg.txn s then 9 put /a v", "s~ "),
            ("cfg.lock s /l lease 5 block 0", "s:/l W"),
            ("cfg.unlock s /l/5", "s:/l W"),
            ("cfg.unlock s l", "s:l W"),
            ("cfg.unlock s /5", "s: W"),
            ("cfg.elect campaign s /l v lease 5", "s:/l W"),
            ("cfg.elect proclaim s /l/5 v", "s:/l W"),
            ("cfg.elect resign s /l/5", "s:/l W"),
            ("cfg.elect leader s /l", "s:/l R"),
            ("cfg.draft set s /n a/b v", "s:/n/a/b W"),
            ("cfg.draft set s /n /a/b v", "s:/n/a/b W"),
            ("cfg.draft show s /n", "s:/n/* R"),
            ("cfg.draft show s /n a", "s:/n/a R"),
            ("cfg.draft discard s /n", "s:/n/* W"),
            ("cfg.publish s /n comment prefix", "s:/n/* W"),
            ("cfg.releases s /n", "s:/n/* R"),
            ("cfg.rollback s /n to -1", "s:/n/* W"),
            ("cfg.gray set s /n g priority 1", "s:/n/* W"),
            ("cfg.gray list s /n", "s:/n/* R"),
            ("cfg.client who s /n", "s:/n/* R"),
            ("cfg.import s /a/ format json {}", "s:/a/* W"),
            ("cfg.export s /a format json", "s:/a/* R"),
        ] {
            assert_eq!(names(line), wanted, "{line}");
        }
    }

    #[test]
    fn any_arguments_of_any_command_name_something_or_are_too_few() {
        let words = ["s", "/a", "prefix", "to", "prev", "seq", "stores", "1", "-1", "9", "exact", "", "children", "id"];
        let mut seed = 5u64;
        let mut next = move |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % bound
        };
        for _ in 0..20_000 {
            let name = NAMES[next(NAMES.len())].0.replace('|', " ");
            let line = (0..next(8)).fold(name, |line, _| format!("{line} {}", words[next(words.len())]));
            let _ = names(&line);
        }
    }
}
