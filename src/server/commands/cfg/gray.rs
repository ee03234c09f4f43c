//! Content for some of the connections: CFG.GRAY.

use super::release::{note, put_published, user};
use super::rows::{ADDS, CHANGED_BY_SUB, READ_BY_SUB, READS, WRITES, container, spec, store};
use super::{next_number, put_field, put_number};
use crate::command::args::int as signed;
use crate::command::error::Error;
use crate::command::spec::{Acl, Arg, Flags};
use crate::command::table::Row;
use crate::registry::{CONDITIONS_MAX, Condition, Rule, Test, abandon, check_path, grays, present, promote, set_rule};
use crate::server::commands::row_parts::{int, option, text};
use crate::server::{ServerCx, ServerFn};

pub(in crate::server::commands) const ROWS: &[Row<ServerFn>] =
    &[Row::container(container("cfg.gray", "Groups the commands on gray releases."), GRAY)];

const CONDITION: &[Arg] = &[
    text("label"),
    Arg::one_of(
        "test",
        &[Arg::word("in", "IN"), Arg::word("eq", "EQ"), Arg::word("re", "RE"), Arg::word("pct", "PCT")],
    ),
    text("value"),
];

const GRAY: &[Row<ServerFn>] = &[
    Row::new(
        spec("abandon", 5, WRITES, Acl::CFGPUBLISH)
            .keys(CHANGED_BY_SUB)
            .doc("O(G*log(N)), G being the paths of the gray release and N those of the store.", "Ends a gray release: everybody sees the namespace again.")
            .args(&[store(), text("namespace"), text("name")]),
        abandon_command,
    ),
    Row::new(
        spec("help", 2, Flags::LOADING.union(Flags::STALE), Acl::CFGREAD.union(Acl::CFGPUBLISH))
            .doc("O(1)", "Lists the subcommands of `CFG.GRAY` and what they do."),
        help_command,
    ),
    Row::new(
        spec("list", 4, READS, Acl::CFGREAD)
            .keys(READ_BY_SUB)
            .doc("O(G), G being the paths of the gray releases.", "Lists the gray releases of a namespace and whom they are for.")
            .args(&[store(), text("namespace")]),
        list_command,
    ),
    Row::new(
        spec("promote", -5, ADDS, Acl::CFGPUBLISH)
            .keys(CHANGED_BY_SUB)
            .doc(
                "O(G*log(N)+M), G being the paths of the gray release, N those of the store and M those of the namespace.",
                "Makes a gray release what everybody sees.",
            )
            .args(&[
                store(),
                text("namespace"),
                text("name"),
                option(text("comment"), "COMMENT"),
                option(text("operator"), "OPERATOR"),
            ]),
        promote_command,
    ),
    Row::new(
        spec("set", -10, ADDS, Acl::CFGPUBLISH)
            .keys(CHANGED_BY_SUB)
            .doc(
                "O(log(N)), N being the paths of the store; whoever observes is told of what differs.",
                "Says whom a gray release is for, and makes it if there is none of that name.",
            )
            .args(&[
                store(),
                text("namespace"),
                text("name"),
                int("priority").token("PRIORITY"),
                int("numconditions").token("RULE"),
                Arg::block("condition", CONDITION).multiple(),
            ]),
        set_command,
    ),
];

const HELP: &[&str] = &[
    "CFG.GRAY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ABANDON <store> <namespace> <name>",
    "    End a gray release.",
    "LIST <store> <namespace>",
    "    List the gray releases and whom they are for.",
    "PROMOTE <store> <namespace> <name> [COMMENT <text>] [OPERATOR <name>]",
    "    Make a gray release what everybody sees.",
    "SET <store> <namespace> <name> PRIORITY <n> RULE <n> <label> IN|EQ|RE|PCT <value>",
    "        [<label> IN|EQ|RE|PCT <value> ...]",
    "    Say whom a gray release is for: connections for whose labels all of that holds. Of several",
    "    releases a connection sees the one of the highest priority.",
    "HELP",
    "    Show these lines.",
];

fn help_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    cx.reply.lines(HELP);
    Ok(())
}

fn set_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace, gray) = (cx.arg(2), cx.arg(3), cx.arg(4));
    let mut words = cx.words(5);
    if !words.accept("PRIORITY") {
        return Err(Error::SYNTAX);
    }
    let mut rule = Rule { priority: signed(words.expect()?)?, conditions: Vec::new() };
    if !words.accept("RULE") {
        return Err(Error::SYNTAX);
    }
    let count = next_number(&mut words)?;
    if count > CONDITIONS_MAX as u64 {
        return Err(Error::cfg_limit(&format!("a rule has 1 to {CONDITIONS_MAX} conditions")));
    }
    for _ in 0..count {
        let (label, test, wanted) = (words.expect()?, words.expect()?, words.expect()?);
        let test = Test::parse(test).ok_or(Error::SYNTAX)?;
        rule.conditions.push(Condition { label, test, wanted });
    }
    if words.left() > 0 {
        return Err(Error::SYNTAX);
    }
    let revision = cx.server.write_registry(cx.slot, name, |writer| set_rule(writer, namespace, gray, &rule))?;
    put_number(&mut cx.reply, revision);
    Ok(())
}

fn promote_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace, gray) = (cx.arg(2), cx.arg(3), cx.arg(4));
    let user = user(cx);
    let note = note(&user, cx.words(5))?;
    let published = cx.server.write_registry(cx.slot, name, |writer| promote(writer, namespace, gray, note))?;
    put_published(&mut cx.reply, &published);
    Ok(())
}

fn abandon_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace, gray) = (cx.arg(2), cx.arg(3), cx.arg(4));
    let revision = cx.server.write_registry(cx.slot, name, |writer| abandon(writer, namespace, gray))?;
    put_number(&mut cx.reply, revision);
    Ok(())
}

fn list_command(cx: &mut ServerCx<'_>) -> Result<(), Error> {
    let (name, namespace) = (cx.arg(2), cx.arg(3));
    check_path(namespace)?;
    let ServerCx { server, slot, reply, .. } = cx;
    let (_, tree) = server.read_registry(*slot, name)?;
    let listed = reply.deferred_array();
    let mut len = 0;
    for (tree, gray) in
        tree.into_iter().flat_map(|tree| grays(tree, namespace).into_iter().map(move |gray| (tree, gray)))
    {
        len += 1;
        reply.map(6);
        reply.text("name");
        reply.bulk(gray.name);
        reply.text("priority");
        reply.int(gray.rule.priority);
        put_field(reply, "mod", gray.revision);
        put_field(reply, "release", present(tree, namespace, Some(gray.name)).map_or(0, |release| release.number));
        put_field(reply, "paths", gray.paths as u64);
        reply.text("rule");
        reply.array(gray.rule.conditions.len());
        for Condition { label, test, wanted } in &gray.rule.conditions {
            reply.array(3);
            reply.bulk(label);
            reply.text(test.name());
            reply.bulk(wanted);
        }
    }
    reply.close(listed, len);
    Ok(())
}
