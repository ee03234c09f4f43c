//! Positions in and out of an index: GEOADD, GEODIST, GEOHASH, GEOPOS.

use super::{position, position_of, reply_distance, reply_position, unit};
use crate::command::spec::{Acl, Arg, ArgKind, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::zset::place;
use crate::command::zset::write::add_scored;
use crate::command::{Cx, Error};
use weir_structs::geo::{self, Unit};
use weir_structs::zset::AddRule;

const ACL_READ_GEO_SLOW: Acl = Acl::READ.union(Acl::GEO).union(Acl::SLOW);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const ACL_WRITE_GEO_SLOW: Acl = Acl::WRITE.union(Acl::GEO).union(Acl::SLOW);

/// Commands on single members of an index.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("geoadd", -5, WRITE_DENYOOM, ACL_WRITE_GEO_SLOW, Group::Geo, "3.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))])
            .doc(
                "O(log(N)) for each member given where N is the number of members.",
                "Sets the positions of members of a geospatial index, adding those that are missing.",
            )
            .history(&[("6.2.0", "Gained the `CH`, `NX` and `XX` options.")])
            .args(&[
                Arg::key("key", 0),
                Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).since("6.2.0").optional(),
                Arg::word("change", "CH").since("6.2.0").optional(),
                Arg::block(
                    "data",
                    &[
                        Arg::new("longitude", ArgKind::Double),
                        Arg::new("latitude", ArgKind::Double),
                        Arg::new("member", ArgKind::String),
                    ],
                )
                .multiple(),
            ]),
        geoadd_command,
    ),
    Row::new(
        Spec::new("geodist", -4, Flags::READONLY, ACL_READ_GEO_SLOW, Group::Geo, "3.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc("O(1)", "Returns how far two members of a geospatial index are apart.")
            .args(&[
                Arg::key("key", 0),
                Arg::new("member1", ArgKind::String),
                Arg::new("member2", ArgKind::String),
                Arg::one_of(
                    "unit",
                    &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                )
                .optional(),
            ]),
        geodist_command,
    ),
    Row::new(
        Spec::new("geohash", -2, Flags::READONLY, ACL_READ_GEO_SLOW, Group::Geo, "3.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of members given.",
                "Returns the positions of members of a geospatial index as geohash strings.",
            )
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).optional().multiple()]),
        geohash_command,
    ),
    Row::new(
        Spec::new("geopos", -2, Flags::READONLY, ACL_READ_GEO_SLOW, Group::Geo, "3.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N) where N is the number of members given.",
                "Returns the longitude and latitude of members of a geospatial index.",
            )
            .args(&[Arg::key("key", 0), Arg::new("member", ArgKind::String).optional().multiple()]),
        geopos_command,
    ),
];

fn geoadd_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (mut rule, mut count_changed) = (AddRule::default(), false);
    let mut words = cx.words(2);
    loop {
        if words.accept("NX") {
            rule.only_new = true;
        } else if words.accept("XX") {
            rule.only_present = true;
        } else if words.accept("CH") {
            count_changed = true;
        } else {
            break;
        }
    }
    let both = rule.only_new && rule.only_present;
    if both || words.left() == 0 || !words.left().is_multiple_of(3) {
        return Err(Error::SYNTAX);
    }
    let first_member = words.at() + 2;
    let mut scores = Vec::with_capacity(words.left() / 3);
    while let (Some(longitude), Some(latitude)) = (words.next(), words.next()) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "at most 54 bits, of which the last is zero where there are so many"
        )]
        scores.push(geo::encode(position(longitude, latitude)?) as f64);
        words.next();
    }
    add_scored(cx, &scores, (first_member, 3), rule, count_changed)
}

fn geodist_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let unit = match cx.argc() {
        4 => Unit::Metres,
        5 => unit(cx.arg(4))?,
        _ => return Err(Error::SYNTAX),
    };
    let (key, members) = (cx.key(1), [cx.arg(2), cx.arg(3)]);
    let zset = place::read(cx.store, cx.db_index, key, cx.effects)?;
    let scores = zset.map(|zset| members.map(|member| zset.score(member)));
    match scores {
        Some([Some(a), Some(b)]) => {
            let distance_m = geo::distance_m(position_of(a), position_of(b));
            reply_distance(&mut cx.reply, distance_m / unit.metres());
        }
        _ => cx.reply.null(),
    }
    Ok(())
}

fn geohash_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, members) = (cx.key(1), cx.words(2));
    let zset = place::read(cx.store, cx.db_index, key, cx.effects)?;
    cx.reply.array(members.left());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => cx.reply.bulk(&geo::text(position_of(score))),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn geopos_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    let (key, members) = (cx.key(1), cx.words(2));
    let zset = place::read(cx.store, cx.db_index, key, cx.effects)?;
    cx.reply.array(members.left());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => reply_position(&mut cx.reply, position_of(score)),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}
