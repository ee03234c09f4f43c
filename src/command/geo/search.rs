//! What lies near: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their read-only forms.
//!
//! A shape names up to nine cells of the grid, each a range of scores. A cell with many members is cut into quarters as
//! long as that leaves some of them out, so that few members are looked at that are not inside; the order in which members
//! are found stays that of the whole cells, which clients see when they ask for no other.

use super::query::{self, Form, Query, Sort};
use super::{position_of, reply_distance, reply_position};
use crate::command::spec::{Acl, Arg, ArgKind, BeginSearch, FindKeys, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::command::table::{DataFn, Row};
use crate::command::zset::{place, rows::Rows};
use crate::command::{Cx, Error};
use std::ops::Range;
use weir_structs::geo::{self, Cell, Position, Shape, Touch};
use weir_structs::zset::{ScoreRange, ZsetRef};

const WRITE_DENYOOM: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_DENYOOM_MOVABLEKEYS: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS);
const ACL_READ_GEO_SLOW: Acl = Acl::READ.union(Acl::GEO).union(Acl::SLOW);
const ACL_WRITE_GEO_SLOW: Acl = Acl::WRITE.union(Acl::GEO).union(Acl::SLOW);
const KEY_OW_UPDATE_VARIABLE_FLAGS: KeyFlags = KeyFlags::OW.union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS);
const KEY_RO_ACCESS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

const CIRCLE_PARTS: &[Arg] = &[
    Arg::new("radius", ArgKind::Double).token("BYRADIUS"),
    Arg::one_of("unit", &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")]),
];

const POLYGON_PARTS: &[Arg] = &[
    Arg::new("num-vertices", ArgKind::Integer).token("BYPOLYGON"),
    Arg::block("vertices", &[Arg::new("longitude", ArgKind::Double), Arg::new("latitude", ArgKind::Double)]).multiple(),
];

const FROM_PARTS: &[Arg] = &[
    Arg::new("member", ArgKind::String).token("FROMMEMBER"),
    Arg::block("fromlonlat", &[Arg::new("longitude", ArgKind::Double), Arg::new("latitude", ArgKind::Double)])
        .token("FROMLONLAT"),
];

const BOX_PARTS: &[Arg] = &[
    Arg::new("width", ArgKind::Double).token("BYBOX"),
    Arg::new("height", ArgKind::Double),
    Arg::one_of("unit", &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")]),
];

/// Commands that search an index.
pub const COMMANDS: &[Row<DataFn>] = &[
    Row::new(
        Spec::new("geosearch", -7, Flags::READONLY, ACL_READ_GEO_SLOW, Group::Geo, "6.2.0")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N+log(M)) where N is the number of members in cells that touch the shape, M of all.",
                "Finds the members of a geospatial index inside a circle, a box or a polygon.",
            )
            .history(&[
                ("7.0.0", "Takes the names of units in upper case, too."),
                ("9.0.0", "Gained the `BYPOLYGON` option."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::one_of("from", FROM_PARTS).optional(),
                Arg::one_of(
                    "by",
                    &[
                        Arg::block("circle", CIRCLE_PARTS),
                        Arg::block("box", BOX_PARTS),
                        Arg::block("polygon", POLYGON_PARTS).since("9.0.0"),
                    ],
                ),
                Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
                Arg::block(
                    "count-block",
                    &[Arg::new("count", ArgKind::Integer).token("COUNT"), Arg::word("any", "ANY").optional()],
                )
                .optional(),
                Arg::word("withcoord", "WITHCOORD").optional(),
                Arg::word("withdist", "WITHDIST").optional(),
                Arg::word("withhash", "WITHHASH").optional(),
            ]),
        geosearch_command,
    ),
    Row::new(
        Spec::new("geosearchstore", -8, WRITE_DENYOOM, ACL_WRITE_GEO_SLOW, Group::Geo, "6.2.0")
            .keys(&[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE)), KeySpec::one(2, KEY_RO_ACCESS)])
            .doc(
                "O(N+log(M)) where N is the number of members in cells that touch the shape, M of all.",
                "Stores the members of a geospatial index inside a circle, a box or a polygon.",
            )
            .history(&[
                ("7.0.0", "Takes the names of units in upper case, too."),
                ("9.0.0", "Gained the `BYPOLYGON` option."),
            ])
            .args(&[
                Arg::key("destination", 0),
                Arg::key("source", 1),
                Arg::one_of("from", FROM_PARTS).optional(),
                Arg::one_of(
                    "by",
                    &[
                        Arg::block("circle", CIRCLE_PARTS),
                        Arg::block("box", BOX_PARTS),
                        Arg::block("polygon", POLYGON_PARTS).since("9.0.0"),
                    ],
                ),
                Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
                Arg::block(
                    "count-block",
                    &[Arg::new("count", ArgKind::Integer).token("COUNT"), Arg::word("any", "ANY").optional()],
                )
                .optional(),
                Arg::word("storedist", "STOREDIST").optional(),
            ]),
        geosearchstore_command,
    ),
    Row::new(
        Spec::new("georadius", -6, WRITE_DENYOOM_MOVABLEKEYS, ACL_WRITE_GEO_SLOW, Group::Geo, "3.2.0")
            .keys(&[
                KeySpec::one(1, KEY_RO_ACCESS),
                KeySpec {
                    flags: KEY_OW_UPDATE_VARIABLE_FLAGS,
                    begin: BeginSearch::Keyword("STORE", 6),
                    find: FindKeys::Range { last: 0, step: 1, limit: 0 },
                    notes: "",
                },
                KeySpec {
                    flags: KEY_OW_UPDATE_VARIABLE_FLAGS,
                    begin: BeginSearch::Keyword("STOREDIST", 6),
                    find: FindKeys::Range { last: 0, step: 1, limit: 0 },
                    notes: "",
                },
            ])
            .doc(
                "O(N+log(M)) where N is the number of members in cells that touch the circle, M of all.",
                "Finds or stores the members of a geospatial index near a position.",
            )
            .deprecated("6.2.0", "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS`")
            .history(&[
                ("6.2.0", "Gained the `ANY` option of `COUNT`."),
                ("7.0.0", "Takes the names of units in upper case, too."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::new("longitude", ArgKind::Double),
                Arg::new("latitude", ArgKind::Double),
                Arg::new("radius", ArgKind::Double),
                Arg::one_of(
                    "unit",
                    &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                ),
                Arg::word("withcoord", "WITHCOORD").optional(),
                Arg::word("withdist", "WITHDIST").optional(),
                Arg::word("withhash", "WITHHASH").optional(),
                Arg::block(
                    "count-block",
                    &[
                        Arg::new("count", ArgKind::Integer).token("COUNT"),
                        Arg::word("any", "ANY").since("6.2.0").optional(),
                    ],
                )
                .optional(),
                Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
                Arg::one_of(
                    "store",
                    &[
                        Arg::key("storekey", 1).token("STORE").display("key"),
                        Arg::key("storedistkey", 2).token("STOREDIST").display("key"),
                    ],
                )
                .optional(),
            ]),
        georadius_command,
    ),
    Row::new(
        Spec::new("georadius_ro", -6, Flags::READONLY, ACL_READ_GEO_SLOW, Group::Geo, "3.2.10")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N+log(M)) where N is the number of members in cells that touch the circle, M of all.",
                "Finds the members of a geospatial index near a position.",
            )
            .deprecated("6.2.0", "`GEOSEARCH` with `BYRADIUS`")
            .history(&[
                ("6.2.0", "Gained the `ANY` option of `COUNT`."),
                ("7.0.0", "Takes the names of units in upper case, too."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::new("longitude", ArgKind::Double),
                Arg::new("latitude", ArgKind::Double),
                Arg::new("radius", ArgKind::Double),
                Arg::one_of(
                    "unit",
                    &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                ),
                Arg::word("withcoord", "WITHCOORD").optional(),
                Arg::word("withdist", "WITHDIST").optional(),
                Arg::word("withhash", "WITHHASH").optional(),
                Arg::block(
                    "count-block",
                    &[
                        Arg::new("count", ArgKind::Integer).token("COUNT"),
                        Arg::word("any", "ANY").since("6.2.0").optional(),
                    ],
                )
                .optional(),
                Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
            ]),
        georadius_ro_command,
    ),
    Row::new(
        Spec::new("georadiusbymember", -5, WRITE_DENYOOM_MOVABLEKEYS, ACL_WRITE_GEO_SLOW, Group::Geo, "3.2.0")
            .keys(&[
                KeySpec::one(1, KEY_RO_ACCESS),
                KeySpec {
                    flags: KEY_OW_UPDATE_VARIABLE_FLAGS,
                    begin: BeginSearch::Keyword("STORE", 5),
                    find: FindKeys::Range { last: 0, step: 1, limit: 0 },
                    notes: "",
                },
                KeySpec {
                    flags: KEY_OW_UPDATE_VARIABLE_FLAGS,
                    begin: BeginSearch::Keyword("STOREDIST", 5),
                    find: FindKeys::Range { last: 0, step: 1, limit: 0 },
                    notes: "",
                },
            ])
            .doc(
                "O(N+log(M)) where N is the number of members in cells that touch the circle, M of all.",
                "Finds or stores the members of a geospatial index near one of them.",
            )
            .deprecated("6.2.0", "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`")
            .history(&[
                ("6.2.0", "Gained the `ANY` option of `COUNT`."),
                ("7.0.0", "Takes the names of units in upper case, too."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::new("member", ArgKind::String),
                Arg::new("radius", ArgKind::Double),
                Arg::one_of(
                    "unit",
                    &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                ),
                Arg::word("withcoord", "WITHCOORD").optional(),
                Arg::word("withdist", "WITHDIST").optional(),
                Arg::word("withhash", "WITHHASH").optional(),
                Arg::block(
                    "count-block",
                    &[Arg::new("count", ArgKind::Integer).token("COUNT"), Arg::word("any", "ANY").optional()],
                )
                .optional(),
                Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
                Arg::one_of(
                    "store",
                    &[
                        Arg::key("storekey", 1).token("STORE").display("key"),
                        Arg::key("storedistkey", 2).token("STOREDIST").display("key"),
                    ],
                )
                .optional(),
            ]),
        georadiusbymember_command,
    ),
    Row::new(
        Spec::new("georadiusbymember_ro", -5, Flags::READONLY, ACL_READ_GEO_SLOW, Group::Geo, "3.2.10")
            .keys(&[KeySpec::one(1, KEY_RO_ACCESS)])
            .doc(
                "O(N+log(M)) where N is the number of members in cells that touch the circle, M of all.",
                "Finds the members of a geospatial index near one of them.",
            )
            .deprecated("6.2.0", "`GEOSEARCH` with `BYRADIUS` and `FROMMEMBER`")
            .history(&[
                ("6.2.0", "Gained the `ANY` option of `COUNT`."),
                ("7.0.0", "Takes the names of units in upper case, too."),
            ])
            .args(&[
                Arg::key("key", 0),
                Arg::new("member", ArgKind::String),
                Arg::new("radius", ArgKind::Double),
                Arg::one_of(
                    "unit",
                    &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                ),
                Arg::word("withcoord", "WITHCOORD").optional(),
                Arg::word("withdist", "WITHDIST").optional(),
                Arg::word("withhash", "WITHHASH").optional(),
                Arg::block(
                    "count-block",
                    &[Arg::new("count", ArgKind::Integer).token("COUNT"), Arg::word("any", "ANY").optional()],
                )
                .optional(),
                Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
            ]),
        georadiusbymember_ro_command,
    ),
];

fn geosearch_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    search(cx, Form::Search)
}

fn geosearchstore_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    search(cx, Form::SearchStore)
}

fn georadius_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    search(cx, Form::Radius { read_only: false })
}

fn georadius_ro_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    search(cx, Form::Radius { read_only: true })
}

fn georadiusbymember_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    search(cx, Form::RadiusByMember { read_only: false })
}

fn georadiusbymember_ro_command(cx: &mut Cx<'_>) -> Result<(), Error> {
    search(cx, Form::RadiusByMember { read_only: true })
}

fn search(cx: &mut Cx<'_>, form: Form) -> Result<(), Error> {
    let (key, argv) = (cx.key(form.source_at()), cx.argv);
    let zset = place::read(cx.store, cx.db_index, key, cx.effects)?;
    let query = query::read(argv, zset, form)?;
    let mut hits = Hits::default();
    if let (Some(zset), Some(shape)) = (zset, &query.shape) {
        let most = if query.any { query.count.unwrap_or(usize::MAX) } else { usize::MAX };
        hits.find(zset, shape, most);
        hits.arrange(&query);
    }
    match query.target {
        Some(target) => {
            let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
            let (key, unit_m) = (cx.key(target.key_at), query.unit.metres());
            let mut rows = Rows::default();
            for hit in &hits.hits {
                rows.push(hits.member(hit), if target.distances { hit.distance_m / unit_m } else { hit.score });
            }
            rows.sort();
            rows.store(cx, key, event)?;
            // Every member counts as a change; storing has counted one.
            cx.effects.changed((hits.hits.len() as u64).saturating_sub(1));
            Ok(())
        }
        None => {
            hits.reply(cx, &query);
            Ok(())
        }
    }
}

/// A member that was found.
#[derive(Clone, Debug)]
struct Hit {
    /// Where its name is.
    name: Range<usize>,
    score: f64,
    position: Position,
    distance_m: f64,
}

/// Members that were found; their names lie one behind the other, in the order of finding.
#[derive(Debug, Default)]
struct Hits {
    names: Vec<u8>,
    hits: Vec<Hit>,
}

/// A part of a cell with no more members than this is looked through.
const MEMBERS_UNCUT: u64 = 24;
/// How many members are looked at before asking again whether there are enough.
const MEMBERS_AT_ONCE: u64 = 64;

impl Hits {
    /// Finds the members inside of a shape, at least `most` of them if there are so many.
    fn find(&mut self, zset: ZsetRef<'_>, shape: &Shape, most: usize) {
        for cell in shape.cells() {
            if self.hits.len() >= most {
                break;
            }
            let ranks = ranks_of(zset, cell);
            self.find_in(zset, shape, cell, ranks, most);
        }
        self.hits.truncate(most);
    }

    fn find_in(&mut self, zset: ZsetRef<'_>, shape: &Shape, cell: Cell, ranks: Range<u64>, most: usize) {
        let members = ranks.end.saturating_sub(ranks.start);
        if members == 0 || self.hits.len() >= most {
            return;
        }
        // A small set is walked to be cut, too.
        let can_be_cut = members > MEMBERS_UNCUT && matches!(zset, ZsetRef::Big(_));
        match (shape.touch(cell), cell.quarters()) {
            (Touch::Nothing, _) => {}
            (Touch::Part, Some(quarters)) if can_be_cut => {
                for quarter in quarters {
                    if shape.touch(quarter) != Touch::Nothing {
                        self.find_in(zset, shape, quarter, ranks_of(zset, quarter), most);
                    }
                }
            }
            _ => self.look_through(zset, shape, ranks, most),
        }
    }

    fn look_through(&mut self, zset: ZsetRef<'_>, shape: &Shape, ranks: Range<u64>, most: usize) {
        let at_once = if most == usize::MAX { u64::MAX } else { MEMBERS_AT_ONCE };
        let mut start = ranks.start;
        while start < ranks.end && self.hits.len() < most {
            let end = ranks.end.min(start.saturating_add(at_once));
            zset.walk(start..end, |member, score| {
                let position = position_of(score);
                if let Some(distance_m) = shape.distance_m(position) {
                    let name = self.names.len()..self.names.len() + member.len();
                    self.names.extend_from_slice(member);
                    self.hits.push(Hit { name, score, position, distance_m });
                }
            });
            start = end;
        }
    }

    /// Sorts as asked and leaves as many as asked.
    fn arrange(&mut self, query: &Query) {
        let most = query.count.unwrap_or(usize::MAX);
        let order = |a: &Hit, b: &Hit| {
            let nearer = a.distance_m.total_cmp(&b.distance_m);
            let by_distance = if query.sort == Sort::Descending { nearer.reverse() } else { nearer };
            // Of two that are equally far the one that was found first.
            by_distance.then(a.name.start.cmp(&b.name.start))
        };
        if query.sort != Sort::None {
            if most < self.hits.len() {
                self.hits.select_nth_unstable_by(most, order);
                self.hits.truncate(most);
            }
            self.hits.sort_unstable_by(order);
        }
        self.hits.truncate(most);
    }

    fn member(&self, hit: &Hit) -> &[u8] {
        self.names.get(hit.name.clone()).unwrap_or_default()
    }

    fn reply(&self, cx: &mut Cx<'_>, query: &Query) {
        let reply = &mut cx.reply;
        let more = [query.with_distance, query.with_hash, query.with_position].into_iter().filter(|with| *with).count();
        reply.array(self.hits.len());
        for hit in &self.hits {
            if more > 0 {
                reply.array(1 + more);
            }
            reply.bulk(self.member(hit));
            if query.with_distance {
                reply_distance(reply, hit.distance_m / query.unit.metres());
            }
            if query.with_hash {
                #[expect(clippy::cast_possible_wrap, reason = "what is no position is shown with its sign")]
                reply.int(geo::bits_of_score(hit.score) as i64);
            }
            if query.with_position {
                reply_position(reply, hit.position);
            }
        }
    }
}

/// Ranks of the members in a cell.
fn ranks_of(zset: ZsetRef<'_>, cell: Cell) -> Range<u64> {
    let (first, end) = cell.scores();
    zset.score_ranks(&ScoreRange { max_exclusive: true, ..ScoreRange::new(first, end) })
}
