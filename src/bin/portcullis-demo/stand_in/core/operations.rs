//! Core's operations, from the table beside this file, found with the router that Core's axum uses.

use std::{collections::BTreeMap, io, str::FromStr};

use http::{Method, StatusCode};
use matchit::Router;

const TABLE: &str = include_str!("operations.tsv");

/// Parameters of a path, in order, as they stand in it (not decoded).
pub(crate) type Parameters = Vec<(String, String)>;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) query: Vec<Field>,
    pub(crate) body: Option<BodyRule>,
    pub(crate) organisation: OrganisationAt,
    /// Of success.
    pub(crate) status: StatusCode,
}

/// Who may call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Public,
    /// Public for Core, with a bearer token of the protocol's own.
    OwnBearer,
    Authenticated,
    AnyOf(Vec<&'static str>),
}

/// Where Core looks for the organisation that it compares with the token's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrganisationAt {
    Nowhere,
    Query,
    Body,
    /// `organisationIds[]`, unless the caller may see the system's history and asks for it.
    History,
}

/// A query parameter or a member of a JSON body.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
}

/// What a body has to be.
#[derive(Debug)]
pub(crate) struct BodyRule {
    pub(crate) required: bool,
    /// `None`: members are not looked at.
    pub(crate) members: Option<Vec<Field>>,
}

/// Every operation, by path.
pub(crate) struct Operations(Router<Vec<Operation>>);

impl Operations {
    /// Reads the table.
    ///
    /// # Errors
    /// When a line of it is malformed or two paths collide.
    pub(crate) fn read() -> io::Result<Self> {
        // The document names one parameter differently from method to method; for the router
        // (and for Core) it is one path.
        let mut paths = BTreeMap::<String, Vec<Operation>>::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let operation = read(line)
                .ok_or_else(|| io::Error::other(format!("operations.tsv: malformed: {line}")))?;
            paths.entry(shape(operation.path)).or_default().push(operation);
        }
        let mut router = Router::new();
        for operations in paths.into_values() {
            if let Some(path) = operations.first().map(|first| first.path) {
                router.insert(path, operations).map_err(io::Error::other)?;
            }
        }
        Ok(Self(router))
    }

    /// The operations of a raw path, one for each method, and the path's parameters.
    pub(crate) fn at(&self, path: &str) -> Option<(&[Operation], Parameters)> {
        let found = self.0.at(path).ok()?;
        let parameters =
            found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some((found.value, parameters))
    }
}

impl Operation {
    /// Whether no app token is asked for.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.access, Access::Public | Access::OwnBearer)
    }
}

fn read(line: &'static str) -> Option<Operation> {
    let mut columns = line.split('\t');
    let operation = Operation {
        method: Method::from_str(columns.next()?).ok()?,
        path: columns.next()?,
        access: match columns.next()? {
            "PUBLIC" => Access::Public,
            "PUBLIC+BEARER" => Access::OwnBearer,
            "AUTHENTICATED" => Access::Authenticated,
            named => Access::AnyOf(named.split(',').collect()),
        },
        query: fields(columns.next()?),
        body: match columns.next()? {
            "-" => None,
            column => Some(body(column)?),
        },
        organisation: match columns.next()? {
            "-" => OrganisationAt::Nowhere,
            "query" => OrganisationAt::Query,
            "body" => OrganisationAt::Body,
            "history" => OrganisationAt::History,
            _ => return None,
        },
        status: columns.next()?.parse().ok()?,
    };
    columns.next().is_none().then_some(operation)
}

fn body(column: &'static str) -> Option<BodyRule> {
    let (kind, members) = column.split_once(':')?;
    Some(BodyRule {
        required: kind.ends_with('!'),
        members: (members != "*").then(|| fields(members)),
    })
}

fn fields(column: &'static str) -> Vec<Field> {
    let names = column.split(',').filter(|name| *name != "-");
    names
        .map(|name| Field { name: name.trim_end_matches('!'), required: name.ends_with('!') })
        .collect()
}

/// The path with every parameter's name left out.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_core_1_74_2() {
        let operations = TABLE.lines().filter_map(read).collect::<Vec<_>>();
        let count = |wanted: fn(&Access) -> bool| {
            operations.iter().filter(|operation| wanted(&operation.access)).count()
        };
        assert_eq!(operations.len(), 166);
        assert_eq!(count(|access| matches!(access, Access::AnyOf(_))), 110);
        assert_eq!(
            count(|access| matches!(access, Access::AnyOf(named) if named.len() > 1)),
            5,
            "operations with several permissions"
        );
        assert_eq!(count(|access| *access == Access::Authenticated), 3);
    }

    #[test]
    fn methods_of_one_path_share_a_route() {
        let operations = Operations::read().unwrap();
        let (methods, parameters) = operations.at("/api/trust-collection/v1/x/trust-list").unwrap();
        let mut names = methods.iter().map(|one| one.method.as_str()).collect::<Vec<_>>();
        names.sort_unstable();
        assert_eq!(names, ["GET", "POST"]);
        assert_eq!(parameters.first().unwrap().1, "x");
        for unknown in ["/api/credential/v1/", "/api//credential/v1", "/API/credential/v1", "/"] {
            assert!(operations.at(unknown).is_none(), "{unknown}");
        }
    }
}
