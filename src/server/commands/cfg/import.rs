//! Configuration files: CFG.IMPORT, CFG.EXPORT.

use super::put_field;
use super::rows::{ADDS, CHANGED, READ, READS, spec, store};
use crate::command::args::Words;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg};
use crate::command::table::Row;
use crate::registry::formats::Format;
use crate::registry::{export, import};
use crate::server::commands::row_parts::{flag, text};
use crate::server::{ServerCx, ServerFn};

const FORMAT: Arg = Arg::one_of(
    "format",
    &[
        Arg::word("properties", "PROPERTIES"),
        Arg::word("yaml", "YAML"),
        Arg::word("json", "JSON"),
        Arg::word("toml", "TOML"),
    ],
)
.token("FORMAT");

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] = &[
    Row::new(
        spec("cfg.export", 5, READS, Acl::CFGREAD)
            .keys(READ)
            .doc(
                "O(log(N)+M*log(M)), N being the paths of the store and M those written.",
                "Returns all that is below a path as a configuration file.",
            )
            .args(&[store(), text("prefix"), FORMAT]),
        export_command,
    ),
    Row::new(
        spec("cfg.import", -6, ADDS, Acl::CFGWRITE)
            .keys(CHANGED)
            .doc(
                "O(M*log(N)), M being the paths that the text makes or replaces, and N those of the store.",
                "Puts what a configuration file says below a path, in one revision.",
            )
            .args(&[store(), text("prefix"), FORMAT, text("text"), flag("replace", "REPLACE")]),
        import_command,
    ),
];

fn next_format(words: &mut Words<'_>) -> Result<Format, Error> {
    if !words.accept("FORMAT") {
        return Err(Error::SYNTAX);
    }
    let unknown = || Error::cfg_format("the formats are properties, yaml, json and toml");
    Format::parse(words.expect()?).ok_or_else(unknown)
}

fn import_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, prefix) = (cx.arg(1), cx.arg(2));
    let mut words = cx.words(3);
    let (format, text) = (next_format(&mut words)?, words.expect()?);
    let replaces = words.accept("REPLACE");
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let imported = cx.server.write_registry(cx.slot, name, |writer| import(writer, prefix, format, text, replaces))?;
    cx.reply.map(3);
    put_field(&mut cx.reply, "imported", imported.paths);
    put_field(&mut cx.reply, "deleted", imported.deleted);
    put_field(&mut cx.reply, "revision", imported.revision);
    Ok(())
}

fn export_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, prefix) = (cx.arg(1), cx.arg(2));
    let format = next_format(&mut cx.words(3))?;
    let (_, tree) = cx.server.read_registry(cx.slot, name)?;
    let text = export(tree, prefix, format)?;
    cx.reply.text(&text);
    Ok(())
}
