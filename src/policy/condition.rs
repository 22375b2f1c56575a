//! Conditions: one CEL expression that has to be true of the caller, the request and the
//! organisation.
//!
//! Everything that can be known before a request is checked when the expression is compiled:
//! its grammar, every name in it, its depth and its loops. Afterwards anything but `true` is a
//! refusal, an error included. No text of an evaluation's error leaves this file: it may hold
//! claims.

mod inspect;

use std::{fmt, net::IpAddr, sync::Arc, thread};

use cel::{
    Context, Env, Program, Value,
    objects::{Key, Map},
};
use http::{HeaderMap, header};
use serde_json::Value as Json;

use crate::{identity::Identity, organisation::Organisation};

/// A condition, ready to be asked.
#[derive(Clone)]
pub struct Condition {
    program: Arc<Program>,
    env: Arc<Env>,
    uses: inspect::Uses,
}

/// What a condition can see of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// One of our hosts.
    pub host: &'a str,
    /// Without its question mark.
    pub query: Option<&'a str>,
    /// Every header line; those that hold credentials are not shown to the condition.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub client: Option<IpAddr>,
}

/// Bytes of an expression.
pub const LONGEST: usize = 2 * 1024;
/// Values in the claims: a loop over them costs at most its square, in microseconds.
const VALUES: usize = 1024;
/// The parser is a recursive descent over a generated grammar, with large frames; its own bound
/// of depth has to be reached before the end of the stack (cel-rust#212).
const PARSER_STACK: usize = 32 * 1024 * 1024;

impl Condition {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A sentence for the operator: what is wrong with the expression.
    pub fn compile(source: &str) -> Result<Self, String> {
        if source.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        inspect::brackets(source)?;
        let env = Arc::new(Env::stdlib().with_optional_support(false));
        let (text, parser) = (source.to_owned(), Arc::clone(&env));
        // A thread of its own: for the stack, and because a panic of the parser ends there.
        let compile = move || parser.compile(&text).map_err(|error| first_line(&error));
        let program = thread::Builder::new()
            .name("cel".to_owned())
            .stack_size(PARSER_STACK)
            .spawn(compile)
            .map_err(|error| format!("cannot be compiled: {error}"))?
            .join()
            .map_err(|_| "cannot be compiled".to_owned())??;
        let uses = inspect::check(program.expression())?;
        Ok(Self { program: Arc::new(program), env, uses })
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// Why that could not be found out, without any value.
    pub fn holds(
        &self,
        identity: &Identity,
        organisation: Option<Organisation>,
        asked: &Asked<'_>,
    ) -> Result<bool, &'static str> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        if self.uses.claims {
            let mut left = VALUES;
            let claims = identity
                .claims
                .iter()
                .map(|(name, claim)| Some((Key::from(name.as_str()), value(claim, &mut left)?)));
            let claims: Option<_> = claims.collect();
            context
                .add_variable_from_value("claims", map(claims.ok_or("the claims are too many")?));
        }
        if self.uses.request {
            context.add_variable_from_value("request", request(asked));
        }
        if self.uses.organisation {
            let organisation = organisation.map(|organisation| organisation.to_string());
            context.add_variable_from_value("organisation", text(organisation));
        }
        if self.uses.subject {
            context.add_variable_from_value("subject", &*identity.subject);
        }
        if self.uses.roles {
            let roles = identity.roles.iter().map(|role| Value::from(&**role)).collect();
            context.add_variable_from_value("roles", Value::List(Arc::new(roles)));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the condition is neither true nor false"),
            Err(_) => Err("the condition cannot be evaluated"),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.program.source_info().source).finish()
    }
}

/// Headers whose values are credentials, or hold some.
const SECRET: [header::HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

fn request(asked: &Asked<'_>) -> Value {
    let headers = asked.headers.keys().filter(|name| !SECRET.contains(name)).filter_map(|name| {
        let first = asked.headers.get(name)?.to_str().ok()?;
        Some((Key::from(name.as_str()), Value::from(first)))
    });
    let fields = [
        ("method", Value::from(asked.method)),
        ("path", Value::from(asked.path)),
        ("host", Value::from(asked.host)),
        ("query", text(asked.query.map(str::to_owned))),
        ("headers", map(headers.collect())),
        ("client", text(asked.client.map(|client| client.to_string()))),
    ];
    map(fields.into_iter().map(|(name, value)| (Key::from(name), value)).collect())
}

fn map(entries: std::collections::HashMap<Key, Value>) -> Value {
    Value::Map(Map { map: Arc::new(entries) })
}

fn text(text: Option<String>) -> Value {
    text.map_or(Value::Null, Value::from)
}

/// A claim as CEL sees it; `None` once there are too many. Depth is bounded where JSON is read.
fn value(json: &Json, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::Null,
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => {
            let list: Option<Vec<_>> = list.iter().map(|item| value(item, left)).collect();
            Value::List(Arc::new(list?))
        }
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(name, member)| Some((Key::from(name.as_str()), value(member, left)?)));
            map(members.collect::<Option<_>>()?)
        }
    })
}

fn first_line(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("unreadable");
    format!("is not CEL: {}", line.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests;
