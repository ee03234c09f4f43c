//! Drafts: what the paths of a namespace are to be when it is published next. Nobody sees them but who asks for them.

use super::hidden::{DELETED, below, drafts_of};
use super::{Writer, check_path, check_value};
use crate::command::error::Error;
use weir_structs::tree::{Revision, Tree, Version};

/// What a path of a namespace is to be.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'t> {
    /// The path, without the namespace and the slash behind it.
    pub path: &'t [u8],
    /// Its value; `None`: it is to be deleted.
    pub value: Option<&'t [u8]>,
    /// What it is now.
    pub now: Option<&'t Version>,
}

/// A path of a namespace as it is kept: what follows the namespace, with the slash.
///
/// # Errors
/// The namespace is no path, or the whole is none.
pub(super) fn relative(namespace: &[u8], path: &[u8]) -> Result<Vec<u8>, Error> {
    check_path(namespace)?;
    let relative = [b"/", path].concat();
    check_path(&[namespace, &relative].concat())?;
    Ok(relative)
}

/// Drafts what a path is to be; `None`: that it is to be deleted. Gives the revision.
///
/// # Errors
/// The path is none; the value is too long.
pub fn draft(writer: &mut Writer<'_>, namespace: &[u8], path: &[u8], value: Option<&[u8]>) -> Result<Revision, Error> {
    let path = [drafts_of(namespace), relative(namespace, path)?].concat();
    check_value(writer.tree(), value.unwrap_or_default())?;
    writer.put(&path, value.unwrap_or_default(), 0, if value.is_some() { 0 } else { DELETED });
    Ok(writer.revision())
}

/// All drafts of a namespace, in order of paths.
pub fn drafts<'t>(tree: &'t Tree, namespace: &[u8]) -> impl Iterator<Item = Draft<'t>> {
    below(tree, &drafts_of(namespace), None).map(move |(path, version)| Draft {
        path: path.get(1..).unwrap_or_default(),
        value: (version.flags() != DELETED).then(|| version.value()),
        now: tree.get(&[namespace, path].concat()),
    })
}

/// Forgets drafts: that of a path, or all of a namespace. Gives how many there were.
///
/// # Errors
/// The path is none.
pub fn discard(writer: &mut Writer<'_>, namespace: &[u8], path: Option<&[u8]>) -> Result<u64, Error> {
    let drafts = drafts_of(namespace);
    match path {
        Some(path) => Ok(u64::from(writer.delete(&[drafts, relative(namespace, path)?].concat()))),
        None => {
            check_path(namespace)?;
            Ok(writer.delete_prefix(&drafts))
        }
    }
}
