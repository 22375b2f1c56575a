//! Where routes and an upstream's document part: operations that no route leads to, rules that no
//! operation has, and rules that ask for something else.
//!
//! Each operation is asked of the very table that serves, host by host, so that a more specific
//! route to another upstream, or a wide one that catches the rest, is seen as a request sees it.
//! Organisations are not compared: a document does not say how they are checked. Pure.

use std::{collections::BTreeSet, fmt};

use http::Method;

use super::import::{Demand, Document, Operation};
use crate::{
    permission::Requirement,
    route::{Methods, PathPattern, Pattern, RouteTable, TableError},
};

/// A route, as far as it is compared.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it matches.
    pub pattern: Pattern,
    /// The methods that it names; empty stands for every one.
    pub methods: Vec<&'static str>,
    /// Whether it leads to the upstream that the document is of.
    pub ours: bool,
    /// Whether it asks for no credential.
    pub public: bool,
    /// What it asks of the caller's permissions.
    pub permissions: Requirement,
    /// Where it stands: `file:line`.
    pub place: String,
}

/// The routes of a configuration, for comparison with one upstream's document.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Every route.
    pub rules: Vec<Rule>,
    /// The hosts answered.
    pub hosts: Vec<Box<str>>,
}

impl Compared {
    /// Every difference, by path and method.
    ///
    /// # Errors
    /// When the routes could not be served either.
    pub fn with(&self, document: &Document) -> Result<Vec<Difference>, TableError> {
        let hosts: Vec<&str> = self.hosts.iter().map(|host| &**host).collect();
        compare(&self.rules, &hosts, document)
    }
}

/// One difference; `Display` is a line for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// As the document or the rule writes it.
    pub path: String,
    /// The method, or `*` for every one.
    pub method: String,
    /// Where the rule stands; `None` when there is none.
    pub place: Option<String>,
    /// What.
    pub kind: Kind,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The document has the operation, and no route leads to it.
    NoRoute,
    /// The rule is about nothing that the document has.
    NoOperation,
    /// Public here, not public there.
    Access {
        /// Whether the rule is the public side.
        open: bool,
    },
    /// The permissions differ.
    Permissions {
        /// What the rule asks.
        rule: String,
        /// What the document asks.
        document: String,
    },
}

impl Kind {
    /// A word for each, as metrics use it.
    pub const WORDS: [&'static str; 5] =
        ["no_route", "no_operation", "public_rule", "public_operation", "permissions"];

    /// Its word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        let [no_route, no_operation, public_rule, public_operation, permissions] = Self::WORDS;
        match self {
            Self::NoRoute => no_route,
            Self::NoOperation => no_operation,
            Self::Access { open: true } => public_rule,
            Self::Access { open: false } => public_operation,
            Self::Permissions { .. } => permissions,
        }
    }
}

/// Every difference, by path and method.
///
/// # Errors
/// When the routes could not be served either.
pub fn compare(
    rules: &[Rule],
    hosts: &[&str],
    document: &Document,
) -> Result<Vec<Difference>, TableError> {
    let patterns = rules.iter().map(|rule| (rule.pattern.clone(), ())).collect();
    let table = RouteTable::new(patterns)?;
    let mut differences = BTreeSet::new();
    // Rule and method for which there is an operation.
    let mut used: BTreeSet<(usize, &str)> = BTreeSet::new();
    for operation in &document.operations {
        let found = leading(&table, rules, hosts, operation);
        if found.is_empty() {
            differences.insert(Difference {
                path: operation.path.to_string(),
                method: operation.method.as_str().to_owned(),
                place: None,
                kind: Kind::NoRoute,
            });
        }
        for at in found {
            let Some(rule) = rules.get(at) else { continue };
            used.insert((at, operation.method.as_str()));
            differences.extend(parted(rule, operation));
        }
    }
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.ours) {
        differences.extend(surplus(at, rule, document, &used)?);
    }
    Ok(differences.into_iter().collect())
}

/// The rules of our upstream to which requests of an operation come, on whichever host.
fn leading(
    table: &RouteTable<()>,
    rules: &[Rule],
    hosts: &[&str],
    operation: &Operation,
) -> BTreeSet<usize> {
    let path = operation.path.path_with(SOME_ID);
    // Its names are those of tokens, so this does not fail.
    let method = Method::from_bytes(operation.method.as_str().as_bytes()).unwrap_or_default();
    hosts
        .iter()
        .filter_map(|host| table.find(host, &method, &path).ok())
        .map(|found| found.index)
        .filter(|&at| rules.get(at).is_some_and(|rule| rule.ours))
        .collect()
}

fn parted(rule: &Rule, operation: &Operation) -> Option<Difference> {
    let kind = match (&operation.demand, rule.public) {
        (Demand::Nothing, true) => return None,
        (Demand::Nothing, false) => Kind::Access { open: false },
        (_, true) => Kind::Access { open: true },
        (demand, false) => {
            let demanded = match demand {
                Demand::AnyOf(names) => Requirement::AnyOf(names.clone()),
                Demand::Nothing | Demand::Authentication => Requirement::Nothing,
            };
            if same(&rule.permissions, &demanded) {
                return None;
            }
            Kind::Permissions { rule: rule.permissions.to_string(), document: demanded.to_string() }
        }
    };
    Some(Difference {
        path: operation.path.to_string(),
        method: operation.method.as_str().to_owned(),
        place: Some(rule.place.clone()),
        kind,
    })
}

/// All of one permission is any of it.
fn same(one: &Requirement, other: &Requirement) -> bool {
    let single = |requirement: &Requirement| requirement.named().len() == 1;
    one == other || (single(one) && single(other) && one.named() == other.named())
}

/// What a rule says about operations that there are not.
fn surplus(
    at: usize,
    rule: &Rule,
    document: &Document,
    used: &BTreeSet<(usize, &str)>,
) -> Result<Vec<Difference>, TableError> {
    let beneath = beneath(rule, document)?;
    let has = |method: &str| used.contains(&(at, method)) || beneath.contains(method);
    let difference = |method: &str| Difference {
        path: rule.pattern.path.to_string(),
        method: method.to_owned(),
        place: Some(rule.place.clone()),
        kind: Kind::NoOperation,
    };
    if rule.methods.is_empty() {
        let any = config_methods().any(has);
        return Ok(if any { Vec::new() } else { vec![difference("*")] });
    }
    let missing = rule.methods.iter().filter(|&&method| {
        // HEAD goes with GET.
        !(has(method) || (method == "HEAD" && has("GET")))
    });
    Ok(missing.map(|method| difference(method)).collect())
}

fn config_methods() -> impl Iterator<Item = &'static str> {
    crate::config::Method::ALL.iter().map(|method| method.as_str())
}

/// Methods of the operations that a rule is about without serving them: for a wide one, all that
/// lies beneath it and is as open, and whatever the import leaves out on purpose.
fn beneath<'d>(rule: &Rule, document: &'d Document) -> Result<BTreeSet<&'d str>, TableError> {
    let pattern = Pattern { hosts: Vec::new(), methods: Methods::EVERY, ..rule.pattern.clone() };
    let wide = pattern.path.is_wide();
    let table = RouteTable::new(vec![(pattern, ())])?;
    let matches =
        |path: &PathPattern| table.find("", &Method::GET, &path.path_with(SOME_ID)).is_ok();
    let left_out = document.left_out.iter().filter(|(_, path)| matches(path));
    let operations = document.operations.iter().filter(|operation| {
        wide && rule.public == (operation.demand == Demand::Nothing) && matches(&operation.path)
    });
    Ok(left_out
        .map(|(method, _)| method.as_str())
        .chain(operations.map(|operation| operation.method.as_str()))
        .collect())
}

/// In the place of parameters: no word of any other pattern.
const SOME_ID: &str = "00000000-0000-4000-8000-000000000000";

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.path)?;
        match &self.kind {
            Kind::NoRoute => f.write_str("no route leads to this operation")?,
            Kind::NoOperation => f.write_str("no operation is like this rule")?,
            Kind::Access { open: true } => {
                f.write_str("the rule is public, the document is not")?;
            }
            Kind::Access { open: false } => {
                f.write_str("the document is public, the rule is not")?;
            }
            Kind::Permissions { rule, document } => {
                write!(f, "the rule asks for {rule}, the document for {document}")?;
            }
        }
        self.place.iter().try_for_each(|place| write!(f, " ({place})"))
    }
}

#[cfg(test)]
mod tests;
