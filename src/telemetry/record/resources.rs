//! Which things a request is about: what its route's parameters stand for in its path, and what
//! was looked up besides.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use uuid::Uuid;

/// The parameters of a route's pattern with their values in a path that it matches, as an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resources<'a> {
    pattern: &'a str,
    path: &'a str,
    /// What was looked up, by the path of its kind.
    looked_up: &'a [(Box<str>, Uuid)],
}

impl<'a> Resources<'a> {
    /// `None` where the pattern has no parameter and nothing was looked up. `path` is one that it
    /// matches.
    pub(super) fn of(
        pattern: &'a str,
        path: &'a str,
        looked_up: &'a [(Box<str>, Uuid)],
    ) -> Option<Self> {
        let resources = Self { pattern, path, looked_up };
        (!looked_up.is_empty() || resources.each().next().is_some()).then_some(resources)
    }

    /// Names and values in order. What a catch-all took is no resource; the path shows it.
    fn each(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pattern.split('/').zip(self.path.split('/')).filter_map(|(segment, value)| {
            let (before, rest) = segment.split_once('{')?;
            let (name, after) = rest.split_once('}')?;
            let value = value.strip_prefix(before)?.strip_suffix(after)?;
            let end = value.char_indices().nth(LONGEST).map_or(value.len(), |(at, _)| at);
            (!name.starts_with('*')).then_some((name, value.get(..end)?))
        })
    }
}

/// Characters of a value; an identifier has fewer.
const LONGEST: usize = 128;

impl Serialize for Resources<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, value) in self.each() {
            map.serialize_entry(name, value)?;
        }
        let in_path = |id: &Uuid| {
            self.each().any(|(_, value)| Uuid::try_parse(value).is_ok_and(|value| value == *id))
        };
        let mut kinds: Vec<(&str, Vec<&Uuid>)> = Vec::new();
        for (kind, id) in self.looked_up.iter().filter(|(_, id)| !in_path(id)) {
            match kinds.iter_mut().find(|(known, _)| *known == &**kind) {
                Some((_, ids)) => ids.push(id),
                None => kinds.push((kind, vec![id])),
            }
        }
        for (kind, ids) in kinds {
            map.serialize_entry(kind, &ids)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parameters_stand_for() {
        for (pattern, path, expected) in [
            ("/api/a/v1/{id}", "/api/a/v1/7", r#"{"id":"7"}"#),
            ("/l/{list_id}/e/{entry_id}", "/l/1/e/2", r#"{"list_id":"1","entry_id":"2"}"#),
            ("/a/v{version}.json/{*rest}", "/a/v3.json/x/y", r#"{"version":"3"}"#),
        ] {
            let resources = Resources::of(pattern, path, &[]).unwrap();
            assert_eq!(serde_json::to_string(&resources).unwrap(), expected);
        }
        for (pattern, path) in [("/a", "/a"), ("/a/{*rest}", "/a/b"), ("-", "/a/b")] {
            assert!(Resources::of(pattern, path, &[]).is_none(), "{pattern}");
        }
        let long = format!("/a/{}", "x".repeat(1000));
        let cut = serde_json::to_string(&Resources::of("/a/{id}", &long, &[])).unwrap();
        assert_eq!(cut.len(), r#"{"id":""}"#.len() + LONGEST);
    }
}
