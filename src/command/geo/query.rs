//! What a search asks for, from the arguments of all its forms.
//!
//! The key has been looked up before, for errors come in this order: its type, then the arguments as they stand. Without a
//! key the member to begin at cannot be looked up, and is not; everything else is read all the same.

use super::{position, position_of, unit};
use crate::command::args::{self, Words};
use crate::command::error::Error;
use weir_resp::Argv;
use weir_structs::geo::{POLYGON_POINTS_MIN, Position, Shape, Unit};
use weir_structs::zset::ZsetRef;

/// The forms of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// GEOSEARCH
    Search,
    /// GEOSEARCHSTORE
    SearchStore,
    /// GEORADIUS
    Radius {
        /// GEORADIUS_RO
        read_only: bool,
    },
    /// GEORADIUSBYMEMBER
    RadiusByMember {
        /// GEORADIUSBYMEMBER_RO
        read_only: bool,
    },
}

impl Form {
    /// Which argument is the index.
    pub(super) fn source_at(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn may_name_store(self) -> bool {
        matches!(self, Form::Radius { read_only: false } | Form::RadiusByMember { read_only: false })
    }
}

/// In which order members are replied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    /// In that of the cells that are looked through.
    None,
    /// The nearest first.
    Ascending,
    /// The furthest first.
    Descending,
}

/// Where the result is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// Which argument is the key.
    pub(super) key_at: usize,
    /// Whether scores become the distances.
    pub(super) distances: bool,
}

/// A search.
#[derive(Debug)]
pub(super) struct Query {
    /// `None` where there is no index to search.
    pub(super) shape: Option<Shape>,
    /// Of distances.
    pub(super) unit: Unit,
    pub(super) sort: Sort,
    /// How many members at most.
    pub(super) count: Option<usize>,
    /// Any so many will do, not only the nearest.
    pub(super) any: bool,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_position: bool,
    pub(super) target: Option<Target>,
}

/// What is around the middle.
enum Outline {
    Circle(f64),
    Rectangle(f64, f64),
}

/// Where the middle is.
enum Middle {
    At(Position),
    /// A member of an index that is not there.
    Nowhere,
}

/// Reads a query.
///
/// # Errors
/// See above.
pub(super) fn read(argv: Argv<'_>, zset: Option<ZsetRef<'_>>, form: Form) -> Result<Query, Error> {
    let mut words = Words::new(argv, form.source_at() + 1);
    let mut query = Query {
        shape: None,
        unit: Unit::Metres,
        sort: Sort::None,
        count: None,
        any: false,
        with_distance: false,
        with_hash: false,
        with_position: false,
        target: (form == Form::SearchStore).then_some(Target { key_at: 1, distances: false }),
    };
    let (mut middle, mut outline, mut polygon) = (None, None, None);
    let (mut by_member, mut by_position) = (false, false);
    match form {
        Form::Search | Form::SearchStore => {}
        Form::Radius { .. } => {
            middle = Some(Middle::At(position(words.expect()?, words.expect()?)?));
            outline = Some(radius(&mut words, &mut query)?);
        }
        Form::RadiusByMember { .. } => {
            middle = Some(member(zset, words.expect()?)?);
            if zset.is_some() {
                outline = Some(radius(&mut words, &mut query)?);
            } else {
                // Nobody looks at a radius that will not be used.
                words.expect()?;
                words.expect()?;
            }
        }
    }

    while words.peek().is_some() {
        // A word without all that belongs to it is not known.
        let left = words.left();
        if words.accept("WITHDIST") {
            query.with_distance = true;
        } else if words.accept("WITHHASH") {
            query.with_hash = true;
        } else if words.accept("WITHCOORD") {
            query.with_position = true;
        } else if words.accept("ANY") {
            query.any = true;
        } else if words.accept("ASC") {
            query.sort = Sort::Ascending;
        } else if words.accept("DESC") {
            query.sort = Sort::Descending;
        } else if left > 1 && words.accept("COUNT") {
            let count = words.expect_int()?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            query.count = Some(count.ok_or(Error::GEO_COUNT)?);
        } else if form.may_name_store() && left > 1 && words.accept("STORE") {
            query.target = Some(Target { key_at: words.at(), distances: false });
            words.next();
        } else if form.may_name_store() && left > 1 && words.accept("STOREDIST") {
            query.target = Some(Target { key_at: words.at(), distances: true });
            words.next();
        } else if form == Form::SearchStore && words.accept("STOREDIST") {
            query.target = Some(Target { key_at: 1, distances: true });
        } else if !form.is_search() {
            return Err(Error::SYNTAX);
        } else if left > 1 && !by_position && polygon.is_none() && words.accept("FROMMEMBER") {
            middle = Some(member(zset, words.expect()?)?);
            by_member = true;
        } else if left > 2 && !by_member && polygon.is_none() && words.accept("FROMLONLAT") {
            middle = Some(Middle::At(position(words.expect()?, words.expect()?)?));
            by_position = true;
        } else if left > 2
            && !matches!(outline, Some(Outline::Rectangle(..)))
            && polygon.is_none()
            && words.accept("BYRADIUS")
        {
            outline = Some(radius(&mut words, &mut query)?);
        } else if left > 3 && !matches!(outline, Some(Outline::Circle(_))) && polygon.is_none() && words.accept("BYBOX")
        {
            outline = Some(rectangle(&mut words, &mut query)?);
        } else if left > 1 && middle.is_none() && outline.is_none() && words.accept("BYPOLYGON") {
            polygon = Some(corners(&mut words)?);
        } else {
            return Err(Error::SYNTAX);
        }
    }

    let name = argv.get(0).unwrap_or_default();
    if query.target.is_some() && (query.with_distance || query.with_hash || query.with_position) {
        let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
        return Err(Error::geo_store(what));
    }
    query.shape = if let Some(corners) = polygon {
        Some(Shape::polygon(corners).ok_or(Error::GEO_VERTICES_FEW)?)
    } else {
        let middle = middle.ok_or_else(|| Error::geo_from(name))?;
        if outline.is_none() && form.is_search() {
            return Err(Error::geo_by(name));
        }
        match (middle, outline) {
            (Middle::At(center), Some(Outline::Circle(radius_m))) => Some(Shape::circle(center, radius_m)),
            (Middle::At(center), Some(Outline::Rectangle(width_m, height_m))) => {
                Some(Shape::rectangle(center, width_m, height_m))
            }
            _ => None,
        }
    };
    if query.any && query.count.is_none() {
        return Err(Error::GEO_ANY);
    }
    // The first so many of no order are the nearest.
    if query.count.is_some() && !query.any && query.sort == Sort::None {
        query.sort = Sort::Ascending;
    }
    Ok(query)
}

fn member(zset: Option<ZsetRef<'_>>, name: &[u8]) -> Result<Middle, Error> {
    let Some(zset) = zset else { return Ok(Middle::Nowhere) };
    let score = zset.score(name).ok_or_else(|| Error::no_such_member(name))?;
    Ok(Middle::At(position_of(score)))
}

fn radius(words: &mut Words<'_>, query: &mut Query) -> Result<Outline, Error> {
    let radius = args::float(words.expect()?).map_err(|_| Error::GEO_RADIUS)?;
    if radius < 0.0 {
        return Err(Error::GEO_RADIUS_NEGATIVE);
    }
    query.unit = unit(words.expect()?)?;
    Ok(Outline::Circle(radius * query.unit.metres()))
}

fn rectangle(words: &mut Words<'_>, query: &mut Query) -> Result<Outline, Error> {
    let width = args::float(words.expect()?).map_err(|_| Error::GEO_WIDTH)?;
    let height = args::float(words.expect()?).map_err(|_| Error::GEO_HEIGHT)?;
    if width < 0.0 || height < 0.0 {
        return Err(Error::GEO_BOX_NEGATIVE);
    }
    query.unit = unit(words.expect()?)?;
    Ok(Outline::Rectangle(width * query.unit.metres(), height * query.unit.metres()))
}

fn corners(words: &mut Words<'_>) -> Result<Vec<Position>, Error> {
    let count = args::int(words.expect()?).ok().filter(|count| i32::try_from(*count).is_ok());
    let count = count.ok_or(Error::GEO_VERTICES)?;
    // So many are there at most, whatever the number says.
    let count = usize::try_from(count).ok().filter(|count| (POLYGON_POINTS_MIN..=words.left() / 2).contains(count));
    let count = count.ok_or(Error::GEO_VERTICES_FEW)?;
    let mut corners = Vec::with_capacity(count);
    for _ in 0..count {
        corners.push(position(words.expect()?, words.expect()?)?);
    }
    Ok(corners)
}
