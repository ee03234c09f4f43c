//! Views against a slow and simple model: whole maps of what everybody sees, made anew after every revision.

use super::*;
use crate::registry::rules::{Condition, Rule, Test};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_structs::tree::Write;

const PATHS: [&str; 12] =
    ["/a", "/a/x", "/a/y", "/a/b", "/a/b/x", "/a/b/y", "/a/b/x/z", "/a-b/x", "/c/x", "/c/y", "/0", "/d/e/f"];
const NAMESPACES: [&str; 3] = ["/a", "/a/b", "/c"];
const NAMES: [&str; 3] = ["blue", "canary", "green"];
const ZONES: [&str; 3] = ["eu", "us", "ap"];

/// A value and its flags.
type State = (Vec<u8>, u64);

#[derive(Clone, Default)]
struct Model {
    plain: BTreeMap<String, State>,
    /// By namespace and name: priority, and for which zones.
    rules: BTreeMap<(usize, usize), (i64, Vec<&'static str>)>,
    gray: BTreeMap<(usize, usize, String), Option<State>>,
}

impl Model {
    fn seen_by(&self, zone: Option<&str>) -> BTreeMap<String, State> {
        let mut seen = self.plain.clone();
        for (at, namespace) in NAMESPACES.iter().enumerate() {
            let rules = self
                .rules
                .iter()
                .filter(|((of, _), (_, zones))| *of == at && zone.is_some_and(|zone| zones.contains(&zone)));
            // Equal priority: the first name.
            let Some((&(_, name), _)) =
                rules.max_by_key(|((_, name), (priority, _))| (*priority, std::cmp::Reverse(*name)))
            else {
                continue;
            };
            for ((of, by, path), state) in &self.gray {
                if (*of, *by) == (at, name) {
                    let path = format!("{namespace}{path}");
                    match state {
                        Some(state) => seen.insert(path, state.clone()),
                        None => seen.remove(&path),
                    };
                }
            }
        }
        seen
    }
}

fn labels(zone: Option<&'static str>) -> Labels {
    let pairs: Vec<(&[u8], &[u8])> = zone.iter().map(|zone| (b"zone".as_slice(), zone.as_bytes())).collect();
    Labels::new(&pairs, &Arc::default()).expect("labels")
}

fn random_state(rng: &mut SmallRng) -> State {
    (rng.random_range(0..3).to_string().into_bytes(), rng.random_range(0..10) / 9)
}

/// One write to both.
fn write(tree: &mut Tree, model: &mut Model, revision: Revision, rng: &mut SmallRng) {
    let mut apply = |path: &[u8], state: Option<(&[u8], u64)>| {
        let write = match state {
            Some((value, flags)) => Write::Put { path, value, lease: 0, flags },
            None => Write::Del { path },
        };
        tree.write(revision, 0, write);
    };
    let (namespace, name) = (rng.random_range(0..NAMESPACES.len()), rng.random_range(0..NAMES.len()));
    let (of, by) = (NAMESPACES[namespace].as_bytes(), NAMES[name].as_bytes());
    match rng.random_range(0..10) {
        0..5 => {
            let path = PATHS[rng.random_range(0..PATHS.len())];
            if rng.random_bool(0.3) {
                model.plain.remove(path);
                apply(path.as_bytes(), None);
            } else {
                let state = random_state(rng);
                apply(path.as_bytes(), Some((&state.0, state.1)));
                model.plain.insert(path.into(), state);
            }
        }
        5..7 => {
            let path = [hidden::rules_of(of).as_slice(), by].concat();
            if rng.random_bool(0.4) {
                model.rules.remove(&(namespace, name));
                apply(&path, None);
            } else {
                let zones: Vec<&str> = ZONES.into_iter().filter(|_| rng.random_bool(0.5)).collect();
                let (priority, wanted) = (rng.random_range(0..3), zones.join(","));
                let conditions = vec![Condition { label: b"zone", test: Test::In, wanted: wanted.as_bytes() }];
                apply(&path, Some((&Rule { priority, conditions }.to_bytes(), 0)));
                model.rules.insert((namespace, name), (priority, zones));
            }
        }
        7..9 => {
            let path = ["/x", "/y", "/b/x", "/new"][rng.random_range(0..4)];
            let hidden = [hidden::gray_of(of, by).as_slice(), path.as_bytes()].concat();
            let key = (namespace, name, path.to_owned());
            match rng.random_range(0..4) {
                0 => {
                    model.gray.remove(&key);
                    apply(&hidden, None);
                }
                1 => {
                    model.gray.insert(key, None);
                    apply(&hidden, Some((b"", DELETED)));
                }
                _ => {
                    let state = random_state(rng);
                    apply(&hidden, Some((&state.0, state.1)));
                    model.gray.insert(key, Some(state));
                }
            }
        }
        // What nobody sees.
        _ => apply(b"\0d/a\0/x", Some((b"1", 0))),
    }
}

fn state(version: &Version) -> State {
    (version.value().to_vec(), version.flags())
}

fn collected<'t>(seen: impl Iterator<Item = (Cow<'t, [u8]>, &'t Version)>) -> Vec<(String, State)> {
    seen.map(|(path, version)| (String::from_utf8(path.into_owned()).expect("text"), state(version))).collect()
}

/// Spans of many paths, and one path.
fn spans(rng: &mut SmallRng) -> Vec<Span<'static>> {
    let mut spans = vec![Span::Prefix(b""), Span::Prefix(b"/"), Span::Children(b"/"), Span::Range(b"/a/b", b"/c/y")];
    spans.extend([Span::Prefix(b"/a/"), Span::Prefix(b"/a"), Span::Children(b"/a"), Span::Children(b"/a/b")]);
    spans.push(Span::One(PATHS[rng.random_range(0..PATHS.len())].as_bytes()));
    spans
}

#[test]
fn everybody_sees_what_the_model_says_and_hears_of_what_changes() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut tree, mut models) = (Tree::new(1), vec![Model::default()]);
        for _ in 0..60 {
            let mut model = models.last().expect("one").clone();
            let revision = tree.revision() + 1;
            for _ in 0..rng.random_range(1..5) {
                write(&mut tree, &mut model, revision, &mut rng);
            }
            if tree.revision() == revision {
                models.push(model);
            }
        }
        let last = tree.revision();
        let viewers: Vec<(Option<&str>, Labels)> =
            [None, Some("eu"), Some("us"), Some("ap"), Some("none")].map(|zone| (zone, labels(zone))).into();
        for revision in 1..=last {
            let (old, new) = (&models[revision as usize - 1], &models[revision as usize]);
            let change = tree.change(revision);
            let mut may_differ: Vec<Vec<u8>> = Vec::new();
            if let Some(change) = change {
                touched(&tree, change, &mut |path| may_differ.push(path.to_vec()));
            }
            for (zone, labels) in &viewers {
                let (before, after) = (old.seen_by(*zone), new.seen_by(*zone));
                for span in spans(&mut rng) {
                    let inside = |seen: &BTreeMap<String, State>| -> Vec<(String, State)> {
                        let all = seen.iter().filter(|(path, _)| span.contains(path.as_bytes()));
                        all.map(|(path, state)| (path.clone(), state.clone())).collect()
                    };
                    let wanted = inside(&after);
                    assert_eq!(
                        collected(seen(&tree, span, Some(revision), labels)),
                        wanted,
                        "{seed} {revision} {zone:?} {span:?}"
                    );
                    if revision == last {
                        assert_eq!(collected(seen(&tree, span, None, labels)), wanted);
                    }
                    let mut back = collected(seen(&tree, span, Some(revision), labels).rev());
                    back.reverse();
                    assert_eq!(back, wanted);
                    let (mut both, mut at, mut tail) =
                        (seen(&tree, span, Some(revision), labels), Vec::new(), Vec::new());
                    loop {
                        let is_front = rng.random_bool(0.5);
                        let Some(item) = (if is_front { both.next() } else { both.next_back() }) else { break };
                        if is_front { at.push(item) } else { tail.push(item) }
                    }
                    tail.reverse();
                    at.extend(tail);
                    assert_eq!(collected(at.into_iter()), wanted);

                    let mut followed: BTreeMap<String, State> = inside(&before).into_iter().collect();
                    for event in change.into_iter().flat_map(|change| events(&tree, change, span, labels)) {
                        let path = String::from_utf8(event.path.to_vec()).expect("text");
                        assert!(span.contains(&event.path));
                        assert_eq!(event.before.as_ref().map(state), before.get(&path).cloned());
                        let differs = event.before.as_ref().map(state) != event.after.as_ref().map(state);
                        let is_written =
                            change.is_some_and(|change| change.events.iter().any(|it| it.path == event.path));
                        let is_gray = change.is_some_and(|change| {
                            change.events.iter().any(|it| match hidden::read(&it.path) {
                                Some(Hidden::Gray { namespace, path, .. }) => {
                                    *event.path == *[namespace, path].concat()
                                }
                                _ => false,
                            })
                        });
                        assert!(differs || is_written || is_gray, "{seed} {revision} {zone:?} {path}");
                        match event.after.as_ref() {
                            Some(version) => followed.insert(path, state(version)),
                            None => followed.remove(&path),
                        };
                    }
                    assert_eq!(followed.into_iter().collect::<Vec<_>>(), wanted, "{seed} {revision} {zone:?} {span:?}");
                }
                for path in PATHS.iter().copied().chain(["/a/new", "/c/new", "/nothing"]) {
                    let found = sees(&tree, path.as_bytes(), Some(revision), labels).map(state);
                    assert_eq!(found, after.get(path).cloned(), "{seed} {revision} {zone:?} {path}");
                    if before.get(path) != after.get(path) {
                        assert!(may_differ.iter().any(|told| told == path.as_bytes()), "{seed} {revision} {path}");
                    }
                }
            }
        }
    }
}

#[test]
fn nobody_else_hears_of_what_changes_for_some() {
    let mut tree = Tree::new(1);
    let put = |path: &'static [u8], value: &'static [u8]| Write::Put { path, value, lease: 0, flags: 0 };
    tree.write(1, 0, put(b"/app/a", b"1"));
    let rule =
        Rule { priority: 0, conditions: vec![Condition { label: b"zone", test: Test::Eq, wanted: b"eu" }] }.to_bytes();
    tree.write(2, 0, Write::Put { path: b"\0g/app\0canary", value: &rule, lease: 0, flags: 0 });
    tree.write(3, 0, put(b"\0o/app\0canary\0/a", b"9"));
    tree.write(4, 0, put(b"/app/a", b"2"));
    tree.write(5, 0, put(b"/app/a", b"9"));
    // It is promoted: what is gray goes, and stands in the namespace.
    tree.write(6, 0, Write::Del { path: b"\0g/app\0canary" });
    tree.write(6, 0, Write::Del { path: b"\0o/app\0canary\0/a" });
    let told = |zone| {
        let labels = labels(zone);
        let tell = |change| -> Vec<String> {
            events(&tree, change, Span::Prefix(b"/app/"), &labels)
                .map(|event| String::from_utf8(event.after.as_ref().expect("a value").value().to_vec()).expect("text"))
                .collect()
        };
        (1..=6).map(|revision| tree.change(revision).map_or(Vec::new(), tell).join(",")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(None), "1   2 9 ");
    assert_eq!(told(Some("us")), "1   2 9 ");
    assert_eq!(told(Some("eu")), "1  9   ");
}
