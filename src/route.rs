//! Which route a request takes: host, path and method, in that order.
//!
//! Patterns are written as Core writes its own and matched by the router that Core uses
//! (matchit), on the path as it stands, so both read a path alike. The most specific pattern
//! wins whatever the order of the routes; its methods then decide: a path that is known with
//! other methods is 405 and never falls through to a wider pattern. No route is 404.
//!
//! Routes that begin with the same two literal segments have a small router of their own, which
//! is found by a hash of them: what a request costs hardly depends on how many other services the
//! table has. The answer is that of the one router of all routes, which is asked for all the rest.
//!
//! Pure: the table is made once and only read.

mod pattern;

use std::{collections::HashMap, fmt};

use foldhash::fast::FixedState;
use http::Method;
use matchit::{InsertError, Match as Matched, Router};

pub use self::pattern::PathPattern;
use crate::refusal::{Reason, Refusal};

/// Where and for which methods something applies.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As the operator wrote it.
    pub path: PathPattern,
    /// Hosts in canonical form; empty stands for every host.
    pub hosts: Vec<Box<str>>,
    /// Methods; GET stands for HEAD as well.
    pub methods: Methods,
}

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

/// Routes of one gateway, each with what it leads to.
pub struct RouteTable<T> {
    routes: Vec<(Pattern, T)>,
    /// Hosts that have routes of their own; every other host has [`RouteTable::everywhere`].
    by_host: Table<Branch>,
    everywhere: Branch,
}

/// The operator's names, and no others, are kept, so a request cannot make them collide.
type Table<V> = HashMap<Box<str>, V, FixedState>;

/// What a request matched.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t, 'p, T> {
    /// Its index in the table, stable for the table's life.
    pub index: usize,
    /// The route's pattern.
    pub pattern: &'t Pattern,
    /// What the route leads to.
    pub route: &'t T,
    path: &'p str,
    end: &'t End,
    slash_added: bool,
    branch: &'t Branch,
}

/// Two routes that cannot stand beside each other, or a pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Both match the same requests; indices of the routes.
    #[error("routes {0} and {1} match the same requests")]
    Conflict(usize, usize),
    /// The router cannot hold this pattern; index of the route, and why.
    #[error("route {0}: {1}")]
    Pattern(usize, String),
}

impl<T> RouteTable<T> {
    /// Makes the table.
    ///
    /// # Errors
    /// When two routes would match the same request, or a pattern is malformed.
    pub fn new(routes: Vec<(Pattern, T)>) -> Result<Self, TableError> {
        let mut everywhere = Branch::default();
        let mut by_host = Table::<Branch>::default();
        let all_hosts = |pattern: &Pattern| pattern.hosts.is_empty();
        for (index, (pattern, _)) in routes.iter().enumerate() {
            for host in &pattern.hosts {
                by_host.entry(host.clone()).or_default();
            }
            if all_hosts(pattern) {
                everywhere.insert(index, pattern)?;
            }
        }
        for (host, branch) in &mut by_host {
            for (index, (pattern, _)) in routes.iter().enumerate() {
                if all_hosts(pattern) || pattern.hosts.contains(host) {
                    branch.insert(index, pattern)?;
                }
            }
        }
        everywhere.finish()?;
        by_host.values_mut().try_for_each(Branch::finish)?;
        Ok(Self { routes, by_host, everywhere })
    }

    /// Every route, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &(Pattern, T)> {
        self.routes.iter()
    }

    /// The route of a request whose host and path are canonical.
    ///
    /// # Errors
    /// `no_route`, `method_not_allowed` with `Allow`, or `ambiguous_path` when a trailing slash
    /// more or less would lead to a more specific route: an upstream that ignores the slash
    /// would then serve what was decided by the wrong rule.
    pub fn find<'t, 'p>(
        &'t self,
        host: &str,
        method: &Method,
        path: &'p str,
    ) -> Result<Match<'t, 'p, T>, Refusal> {
        let branch = self.by_host.get(host).unwrap_or(&self.everywhere);
        let no_route = || Refusal::new(Reason::NoRoute, format!("no route for {path}"));
        let (end_at, slash_added) = branch.locate(path).ok_or_else(no_route)?;
        let end = branch.ends.get(end_at).ok_or_else(no_route)?;
        if end.wide {
            branch.refuse_other_slash(path, end_at)?;
        }
        let found = end.routes.iter().find(|(methods, _)| methods.contains(method));
        let Some(&(_, index)) = found else {
            let allowed =
                end.routes.iter().fold(Methods(0), |all, (methods, _)| all.union(*methods));
            let mut refusal = Refusal::new(
                Reason::MethodNotAllowed,
                format!("{method} is not among the methods of {}", end.shape),
            );
            refusal.allow = Some(allowed.to_string());
            return Err(refusal);
        };
        let (pattern, route) = self.routes.get(index).ok_or_else(no_route)?;
        Ok(Match { index, pattern, route, path, end, slash_added, branch })
    }
}

impl<'p, T> Match<'_, 'p, T> {
    /// The value of a parameter by the name that this route gives it, as it stands in the path
    /// (still escaped).
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'p str> {
        let at = self.pattern.path.parameters().position(|known| known == name)?;
        if self.slash_added {
            return None;
        }
        let matched = self.branch.at(self.path)?;
        debug_assert!(std::ptr::eq(self.end, self.branch.ends.get(*matched.value)?));
        matched.params.iter().nth(at).map(|(_, value)| value)
    }
}

#[derive(Debug, Default)]
struct Branch {
    /// Every pattern.
    router: Router<usize>,
    /// The same patterns by their [`start`], where they have one.
    by_start: Table<Router<usize>>,
    ends: Vec<End>,
    by_shape: HashMap<String, usize>,
}

/// Everything under one pattern.
#[derive(Debug)]
struct End {
    /// The pattern's shape.
    shape: String,
    /// Whether it ends in a catch-all.
    wide: bool,
    routes: Vec<(Methods, usize)>,
}

impl Branch {
    fn insert(&mut self, index: usize, pattern: &Pattern) -> Result<(), TableError> {
        let shape = pattern.path.shape();
        let end_at = if let Some(&end_at) = self.by_shape.get(&shape) {
            end_at
        } else {
            self.lead(&shape, self.ends.len())
                .map_err(|error| TableError::Pattern(index, error.to_string()))?;
            self.by_shape.insert(shape.clone(), self.ends.len());
            let wide = pattern.path.is_wide();
            self.ends.push(End { shape, wide, routes: Vec::new() });
            self.ends.len() - 1
        };
        let Some(end) = self.ends.get_mut(end_at) else { return Ok(()) };
        if let Some((_, other)) = end.routes.iter().find(|(m, _)| m.intersects(pattern.methods)) {
            return Err(TableError::Conflict(*other, index));
        }
        end.routes.push((pattern.methods, index));
        Ok(())
    }

    /// `/a/{*rest}` covers `/a/` too, which matchit by itself does not match.
    fn finish(&mut self) -> Result<(), TableError> {
        let ends = std::mem::take(&mut self.ends);
        for (at, end) in ends.iter().enumerate().filter(|(_, end)| end.wide) {
            let bare = end.shape.trim_end_matches("{*rest}");
            if !self.by_shape.contains_key(bare) {
                let index = end.routes.first().map_or(0, |(_, index)| *index);
                self.lead(bare, at)
                    .map_err(|error| TableError::Pattern(index, error.to_string()))?;
            }
        }
        self.ends = ends;
        Ok(())
    }

    /// Lets a shape lead to an end.
    fn lead(&mut self, shape: &str, end_at: usize) -> Result<(), InsertError> {
        self.router.insert(shape, end_at)?;
        match start(shape) {
            Some(start) if !start.contains(['{', '}']) => {
                self.by_start.entry(start.into()).or_default().insert(shape, end_at)
            }
            _ => Ok(()),
        }
    }

    /// The pattern that a path matches. What is literal wins over what is not, from left to
    /// right; so where one of those matches that begin as the path does, no other would win.
    fn at<'p>(&self, path: &'p str) -> Option<Matched<'_, 'p, &usize>> {
        let near = start(path).and_then(|start| self.by_start.get(start));
        let near = near.and_then(|router| router.at(path).ok());
        near.or_else(|| self.router.at(path).ok())
    }

    /// The end that a path leads to, and whether it is one for an empty catch-all.
    fn locate(&self, path: &str) -> Option<(usize, bool)> {
        let matched = self.at(path)?;
        let empty_rest = self
            .ends
            .get(*matched.value)
            .is_some_and(|end| end.wide && matched.params.len() < end.shape.matches('{').count());
        Some((*matched.value, empty_rest))
    }

    fn refuse_other_slash(&self, path: &str, end_at: usize) -> Result<(), Refusal> {
        let toggled = match path.strip_suffix('/') {
            Some("") => return Ok(()),
            Some(without) => self.locate(without),
            None => self.locate(&format!("{path}/")),
        };
        let [Some(this), Some(other)] =
            [Some(end_at), toggled.map(|(at, _)| at)].map(|at| self.ends.get(at?))
        else {
            return Ok(());
        };
        // Of two wide patterns on one path the longer is the more specific.
        if other.wide && other.shape.len() <= this.shape.len() {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::AmbiguousPath,
            "a trailing slash more or less would lead to a more specific route",
        ))
    }
}

/// The first two segments of a path, or of a pattern's shape: `/api/credential`.
fn start(path: &str) -> Option<&str> {
    let slash = |bytes: &[u8]| bytes.iter().position(|&byte| byte == b'/');
    let second = 1 + slash(path.as_bytes().get(1..)?)?;
    let rest = path.as_bytes().get(second + 1..)?;
    let length = slash(rest).unwrap_or(rest.len());
    (length > 0).then(|| path.get(..=second + length)).flatten()
}

impl Methods {
    /// Every method that a route can have.
    pub const EVERY: Self = Self(0b0111_1111);

    const NAMES: [&'static str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    /// The methods named; GET brings HEAD along. Empty stands for every method.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bits = names.into_iter().fold(0, |all, name| {
            all | match name {
                "GET" => 0b11,
                other => Self::bit(other),
            }
        });
        if bits == 0 { Self::EVERY } else { Self(bits) }
    }

    /// Whether it has this one. A method outside the list is in no set.
    #[must_use]
    pub fn contains(self, method: &Method) -> bool {
        self.0 & Self::bit(method.as_str()) != 0
    }

    const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn bit(name: &str) -> u8 {
        Self::NAMES.iter().position(|known| *known == name).map_or(0, |at| 1 << at)
    }
}

/// As `Allow` writes them.
impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (at, name) in Self::NAMES.iter().enumerate() {
            if self.0 & (1 << at) != 0 {
                if !first {
                    f.write_str(", ")?;
                }
                first = false;
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
