//! All users, and who somebody is.
//!
//! A client keeps the [`UserId`] of the user it has logged in as. An id stays that of the user when its rules change, and is
//! given to another when the user is removed: whoever removes a user must end its clients in the same breath.

use super::catalog::Catalog;
use super::password::Digest;
use super::rules::{RuleError, check_name};
use super::user::User;
use std::collections::BTreeMap;

/// Number of a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserId(u32);

impl UserId {
    /// The user that a connection is without AUTH; it is always there.
    pub const DEFAULT: UserId = UserId(0);
}

/// All users.
#[derive(Debug)]
pub struct Users {
    catalog: &'static Catalog,
    slots: Vec<Option<Box<User>>>,
    free: Vec<u32>,
    by_name: BTreeMap<Box<[u8]>, UserId>,
    all_channels: bool,
    /// What a password is compared with where there is none.
    nobody: Digest,
}

/// Name of [`UserId::DEFAULT`].
const DEFAULT_NAME: &[u8] = b"default";
/// What the default user may do until somebody says otherwise.
const DEFAULT_RULES: [&[u8]; 5] = [b"on", b"nopass", b"~*", b"&*", b"+@all"];

impl Users {
    /// The default user alone, who needs no password and may do everything.
    pub fn new(catalog: &'static Catalog, all_channels: bool) -> Users {
        let mut users = Users {
            catalog,
            slots: Vec::new(),
            free: Vec::new(),
            by_name: BTreeMap::new(),
            all_channels,
            nobody: Digest::of(b""),
        };
        users.put(users.fresh_default());
        users
    }

    fn fresh_default(&self) -> User {
        let mut user = User::new(DEFAULT_NAME, self.catalog, self.all_channels);
        for rule in DEFAULT_RULES {
            if let Err(error) = user.apply(rule, self.catalog, self.all_channels) {
                unreachable!("the rules of the default user are refused: {error}");
            }
        }
        user
    }

    /// Sets whether users and selectors that are made from now on may use all channels (`acl-pubsub-default`).
    pub fn set_all_channels(&mut self, all_channels: bool) {
        self.all_channels = all_channels;
    }

    /// What the rules speak of.
    pub fn catalog(&self) -> &'static Catalog {
        self.catalog
    }

    /// The user with an id; the default user for an id of nobody.
    #[inline]
    pub fn get(&self, id: UserId) -> &User {
        let known = |id: UserId| self.slots.get(id.0 as usize)?.as_deref();
        known(id).or_else(|| known(UserId::DEFAULT)).unwrap_or_else(|| unreachable!("the default user is always there"))
    }

    /// The id of the user with this name, which is compared byte by byte.
    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        self.by_name.get(name).copied()
    }

    /// All of them, in the order of the bytes of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &User> {
        self.by_name.values().map(|&id| self.get(id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Never: there is the default user.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether whoever connects may work without logging in.
    pub fn is_open(&self) -> bool {
        let default = self.get(UserId::DEFAULT);
        default.is_enabled() && default.takes_any_password()
    }

    /// Whether the default user has a password, so that there is something to log in with by AUTH with one argument.
    pub fn default_has_password(&self) -> bool {
        !self.get(UserId::DEFAULT).takes_any_password()
    }

    /// `requirepass`: the default user's only password, or none.
    pub fn set_default_password(&mut self, password: Option<&[u8]>) {
        let mut user = self.get(UserId::DEFAULT).clone();
        let rules = match password {
            Some(password) => [b"resetpass".to_vec(), [b">", password].concat()],
            None => [b"nopass".to_vec(), Vec::new()],
        };
        for rule in rules {
            if let Err(error) = user.apply(&rule, self.catalog, self.all_channels) {
                unreachable!("a password is refused: {error}");
            }
        }
        self.put(user);
    }

    /// Who this is. Takes as long for a name that nobody has, and for somebody without passwords, as for a wrong password.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<UserId> {
        let digest = Digest::of(password);
        let id = self.find(name);
        let user = id.map(|id| self.get(id));
        let known = user.map_or(&[][..], User::digests);
        let compared = if known.is_empty() { std::slice::from_ref(&self.nobody) } else { known };
        let right = digest.is_among(compared) & !known.is_empty();
        let user = user?;
        id.filter(|_| user.is_enabled() && (right || user.takes_any_password()))
    }

    /// The user as it would be after these rules, to be [`Users::put`]; a new one if there is none of that name.
    ///
    /// # Errors
    /// The first rule that is refused, by its place, and why.
    pub fn staged(&self, name: &[u8], rules: &[impl AsRef<[u8]>]) -> Result<User, (usize, RuleError)> {
        let mut user = match self.find(name) {
            Some(id) => self.get(id).clone(),
            None => User::new(name, self.catalog, self.all_channels),
        };
        for (at, rule) in rules.iter().enumerate() {
            user.apply(rule.as_ref(), self.catalog, self.all_channels).map_err(|error| (at, error))?;
        }
        Ok(user)
    }

    /// Adds a user, or puts it in the place of the one of its name.
    pub fn put(&mut self, user: User) -> UserId {
        if let Some(id) = self.find(user.name()) {
            self.slots[id.0 as usize] = Some(Box::new(user));
            return id;
        }
        let name: Box<[u8]> = user.name().into();
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[index as usize] = Some(Box::new(user));
        self.by_name.insert(name, UserId(index));
        UserId(index)
    }

    /// Removes a user. `None` if there is none of that name, and for the default user, which stays.
    pub fn remove(&mut self, name: &[u8]) -> Option<UserId> {
        let id = self.find(name).filter(|&id| id != UserId::DEFAULT)?;
        self.by_name.remove(name);
        self.slots[id.0 as usize] = None;
        self.free.push(id.0);
        Some(id)
    }

    /// Puts other users in the place of all that are there. The default user is what it is at first if it is not among
    /// them. Gives the ids of those that are gone.
    pub fn replace(&mut self, users: Vec<User>) -> Vec<UserId> {
        let stays = |name: &[u8]| users.iter().any(|user| user.name() == name);
        let leaving: Vec<Box<[u8]>> = self.by_name.keys().filter(|name| !stays(name)).cloned().collect();
        let gone = leaving.iter().filter_map(|name| self.remove(name)).collect();
        if !stays(DEFAULT_NAME) {
            self.put(self.fresh_default());
        }
        for user in users {
            self.put(user);
        }
        gone
    }

    /// Takes over the users that a configuration declares: name and rules of each.
    ///
    /// # Errors
    /// What is wrong with the first one that cannot be.
    pub fn declare<'a>(&mut self, users: impl IntoIterator<Item = (&'a [u8], Vec<Vec<u8>>)>) -> Result<(), String> {
        for (name, rules) in users {
            if check_name(name).is_err() {
                return Err("Spaces not allowed in ACL usernames".to_owned());
            }
            let shown = String::from_utf8_lossy(name).into_owned();
            let rules = super::rules::merge_selectors(rules.iter().map(Vec::as_slice))
                .map_err(|_| format!("Error in user declaration '{shown}': Unmatched parenthesis in selector"))?;
            let mut user = User::new(name, self.catalog, self.all_channels);
            for rule in rules {
                user.apply(&rule, self.catalog, self.all_channels).map_err(|error| {
                    // Only what cannot hold a password is repeated.
                    let shown_rule = match error {
                        RuleError::UnknownName => format!(" rule '{}'", String::from_utf8_lossy(&rule)),
                        _ => "s".to_owned(),
                    };
                    format!("Error loading ACL{shown_rule} for the user named '{shown}': {error}")
                })?;
            }
            if !user.is_enabled() {
                tracing::info!(
                    "User '{shown}' is declared and disabled: its rules lack 'on'. Make sure that this is what you want."
                );
            }
            self.put(user);
        }
        Ok(())
    }

    /// A user of a file, before any of its rules.
    pub(super) fn nobody_named(&self, name: &[u8]) -> User {
        User::new(name, self.catalog, self.all_channels)
    }

    /// Whether new users and selectors may use all channels.
    pub(super) fn all_channels(&self) -> bool {
        self.all_channels
    }

    /// Bytes of heap behind them, nearly.
    pub fn heap_bytes(&self) -> usize {
        self.iter().map(|user| size_of::<User>() + user.heap_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::sample;
    use super::*;

    fn with(rules: &[(&str, &[&str])]) -> Users {
        let mut users = Users::new(sample(), false);
        for (name, rules) in rules {
            let user = users.staged(name.as_bytes(), rules).unwrap();
            users.put(user);
        }
        users
    }

    fn names(users: &Users) -> Vec<String> {
        users.iter().map(|user| String::from_utf8_lossy(user.name()).into_owned()).collect()
    }

    #[test]
    fn who_somebody_is_takes_name_password_and_being_on() {
        let users =
            with(&[("joe", &["on", ">a", ">b"]), ("jim", &[">a"]), ("any", &["on", "nopass"]), ("none", &["on"])]);
        let is = |name: &str, password: &str| users.authenticate(name.as_bytes(), password.as_bytes()).is_some();
        assert!(is("joe", "a") && is("joe", "b") && is("any", "") && is("default", "x"));
        for (name, password) in
            [("joe", "c"), ("joe", ""), ("JOE", "a"), ("jim", "a"), ("none", ""), ("", ""), ("nobody", "")]
        {
            assert!(!is(name, password), "{name} {password}");
        }
    }

    #[test]
    fn an_id_stays_until_its_user_is_removed() {
        let mut users = with(&[("joe", &["on"]), ("jim", &[])]);
        let joe = users.find(b"joe").unwrap();
        let changed = users.staged(b"joe", &["off"]).unwrap();
        assert_eq!(users.put(changed), joe);
        assert_eq!(users.remove(b"joe"), Some(joe));
        assert_eq!((users.remove(b"joe"), users.remove(b"default")), (None, None));
        let new = users.staged(b"new", &["on"]).unwrap();
        assert_eq!(users.put(new), joe);
        assert_eq!(names(&users), ["default", "jim", "new"]);
    }

    #[test]
    fn a_failed_change_says_where_and_stages_nothing() {
        let users = with(&[("joe", &["on"])]);
        assert_eq!(users.staged(b"joe", &["off", "+nosuch"]).unwrap_err(), (1, RuleError::UnknownName));
        assert!(users.get(users.find(b"joe").unwrap()).is_enabled());
    }

    #[test]
    fn replacing_all_keeps_ids_of_those_that_stay_and_tells_who_is_gone() {
        let mut users = with(&[("joe", &["on"]), ("jim", &[]), ("default", &[">pw"])]);
        let (joe, jim) = (users.find(b"joe").unwrap(), users.find(b"jim").unwrap());
        let next: Vec<User> = with(&[("joe", &["off"]), ("new", &[])]).iter().skip(1).cloned().collect();
        assert_eq!(users.replace(next), [jim]);
        assert_eq!(users.find(b"joe"), Some(joe));
        assert_eq!(names(&users), ["default", "joe", "new"]);
        assert!(users.is_open(), "a default user that is not among them is what it is at first");
        assert!(!users.get(joe).is_enabled());
    }

    #[test]
    fn the_default_password_is_the_only_one_or_none() {
        let mut users = with(&[("default", &[">old"])]);
        assert!(!users.is_open());
        users.set_default_password(Some(b"new"));
        let is = |users: &Users, password: &[u8]| users.authenticate(b"default", password).is_some();
        assert!(is(&users, b"new") && !is(&users, b"old"));
        users.set_default_password(None);
        assert!(users.is_open() && is(&users, b"x"));
    }

    #[test]
    fn declared_users_begin_anew_and_faults_do_not_tell_passwords() {
        let mut users = with(&[]);
        users.set_default_password(Some(b"pw"));
        let declare = |users: &mut Users, name: &str, rules: &[&str]| {
            users.declare([(name.as_bytes(), rules.iter().map(|rule| rule.as_bytes().to_vec()).collect())])
        };
        declare(&mut users, "default", &["on", "nopass", "(+get", "~a)"]).unwrap();
        assert_eq!(
            users.get(UserId::DEFAULT).line(),
            b"default on nopass resetchannels -@all (~a resetchannels -@all +get)"
        );
        for (name, rules, wanted) in [
            ("a b", &["on"][..], "Spaces not allowed in ACL usernames"),
            (
                "a",
                &["+no"],
                "Error loading ACL rule '+no' for the user named 'a': Unknown command or category name in ACL",
            ),
            (
                "a",
                &["<secret"],
                "Error loading ACLs for the user named 'a': The password you are trying to remove from the user does not exist",
            ),
            ("a", &["(+get"], "Error in user declaration 'a': Unmatched parenthesis in selector"),
        ] {
            assert_eq!(declare(&mut users, name, rules).unwrap_err(), wanted);
        }
    }
}
