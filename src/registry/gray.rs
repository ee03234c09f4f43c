//! Gray releases: content that some of the connections see in place of a namespace's, chosen by their labels. Who sees them,
//! and what they have, is looked at in [`super::view`].

use super::hidden::{DELETED, NAME_BYTES_MAX, below, gray_of, rules_of};
use super::releases::{Note, Origin, Published, check_size, make, put_plain};
use super::rules::Rule;
use super::{Writer, check_path};
use crate::command::error::Error;
use weir_structs::tree::{Revision, Tree, Version};

/// A gray release.
#[derive(Clone, Debug)]
pub struct Gray<'t> {
    /// Its name.
    pub name: &'t [u8],
    /// Who sees it.
    pub rule: Rule<'t>,
    /// Since when that is the rule.
    pub revision: Revision,
    /// Paths that are not as in the namespace.
    pub paths: usize,
}

/// What a gray release has, in order of paths, each with the slash behind the namespace.
pub(super) fn gray_states<'t>(
    tree: &'t Tree,
    namespace: &[u8],
    name: &[u8],
) -> impl Iterator<Item = (&'t [u8], &'t Version)> + use<'t> {
    below(tree, &gray_of(namespace, name), None)
}

fn rule_path(namespace: &[u8], name: &[u8]) -> Result<Vec<u8>, Error> {
    check_path(namespace)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(&0) {
        let why = format!("the name of a gray release has 1 to {NAME_BYTES_MAX} bytes and no NUL");
        return Err(Error::cfg_release(&why));
    }
    Ok([rules_of(namespace).as_slice(), name].concat())
}

/// Says who sees a gray release, which is made if there is none of that name; what it has comes by publishing. Gives the
/// revision.
///
/// # Errors
/// The name is none, or the rule cannot be kept.
pub fn set_rule(writer: &mut Writer<'_>, namespace: &[u8], name: &[u8], rule: &Rule<'_>) -> Result<Revision, Error> {
    let path = rule_path(namespace, name)?;
    rule.check()?;
    writer.put(&path, &rule.to_bytes(), 0, 0);
    Ok(writer.revision())
}

/// Makes a gray release what everybody sees.
///
/// # Errors
/// There is no such gray release; the namespace is too large, or what is said of it.
pub fn promote(writer: &mut Writer<'_>, namespace: &[u8], name: &[u8], note: Note<'_>) -> Result<Published, Error> {
    let rule = existing(writer, namespace, name)?;
    note.check()?;
    let states: Vec<(Vec<u8>, Version)> = gray_states(writer.tree(), namespace, name)
        .map(|(path, version)| ([namespace, path].concat(), version.clone()))
        .collect();
    let bytes = states.iter().map(|(path, version)| path.len() + version.value().len() + 20).sum();
    check_size(writer.tree(), namespace, bytes)?;
    for (path, version) in &states {
        if version.flags() == DELETED {
            writer.delete(path);
        } else {
            put_plain(writer, path, version.value(), Some(version.flags()));
        }
    }
    remove(writer, namespace, name, &rule);
    Ok(make(writer, namespace, Origin::Promote(name), note))
}

/// Ends a gray release: everybody sees the namespace. Gives the revision.
///
/// # Errors
/// There is no such gray release.
pub fn abandon(writer: &mut Writer<'_>, namespace: &[u8], name: &[u8]) -> Result<Revision, Error> {
    let rule = existing(writer, namespace, name)?;
    remove(writer, namespace, name, &rule);
    Ok(writer.revision())
}

/// Where the rule of a gray release is that is there.
fn existing(writer: &Writer<'_>, namespace: &[u8], name: &[u8]) -> Result<Vec<u8>, Error> {
    let rule = rule_path(namespace, name)?;
    if writer.tree().get(&rule).is_none() {
        return Err(Error::cfg_release("no such gray release"));
    }
    Ok(rule)
}

fn remove(writer: &mut Writer<'_>, namespace: &[u8], name: &[u8], rule: &[u8]) {
    writer.delete_prefix(&gray_of(namespace, name));
    writer.delete(rule);
}

/// The gray releases of a namespace, in order of names. One whose rule cannot be read is not among them: nobody sees it.
pub fn grays<'t>(tree: &'t Tree, namespace: &[u8]) -> Vec<Gray<'t>> {
    let rules = below(tree, &rules_of(namespace), None);
    let gray = |(name, kept): (&'t [u8], &'t Version)| {
        let paths = gray_states(tree, namespace, name).count();
        Some(Gray { name, rule: Rule::from_bytes(kept.value())?, revision: kept.modified(), paths })
    };
    rules.filter_map(gray).collect()
}
