//! A question to `explain` by HTTP: the same [`Explainer`] that the command line asks, with the
//! configuration at work.
//!
//! The caller is described by claims. Credentials are refused, so that nobody gets used to
//! pasting tokens into a page. One question is answered at a time, and none has long.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, header};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::{
    admission::State,
    config::Loaded,
    explain::{Explainer, Explanation, Kind, Question, Who, header_line},
    organisation::Organisation,
    time::Timestamp,
};

/// Answers questions, one after the other.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Option<Prepared>>);

/// What answers for one configuration.
struct Prepared {
    loaded: Arc<Loaded>,
    explainer: Arc<Explainer>,
}

/// An answer: its status, and a JSON document.
pub(crate) type Answered = (StatusCode, Value);

/// A question as it is posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    path: String,
    host: Option<String>,
    /// What the claims are of.
    #[serde(default, rename = "as")]
    kind: Described,
    claims: Option<Map<String, Value>>,
    /// Chosen in the session.
    organisation: Option<Uuid>,
    /// `NAME: VALUE` each.
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    client: Option<std::net::IpAddr>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Described {
    #[default]
    Iam,
    App,
    Session,
}

#[derive(Debug)]
struct Uuid(Organisation);

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Organisation::parse(&text).map(Self).ok_or_else(|| D::Error::custom("no UUID"))
    }
}

impl Desk {
    /// The explanation, or `{ "error": … }`.
    pub(crate) async fn answer(
        &self,
        (loaded, state): (&Arc<Loaded>, &State),
        body: &[u8],
        now: Timestamp,
    ) -> Answered {
        let question = match question(body) {
            Ok(question) => question,
            Err(why) => return (StatusCode::BAD_REQUEST, json!({ "error": why })),
        };
        match tokio::time::timeout(PATIENCE, self.explain(loaded, state, &question, now)).await {
            Ok(Ok(found)) => (StatusCode::OK, json!(found)),
            Ok(Err((status, why))) => (status, json!({ "error": why })),
            Err(_) => {
                let why = "there is no answer in time; portcullis explain gives one";
                (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": why }))
            }
        }
    }

    async fn explain(
        &self,
        loaded: &Arc<Loaded>,
        state: &State,
        question: &Question,
        now: Timestamp,
    ) -> Result<Explanation, (StatusCode, String)> {
        let mut prepared = self.0.lock().await;
        let known = prepared.as_ref().filter(|known| Arc::ptr_eq(&known.loaded, loaded));
        let explainer = if let Some(known) = known {
            Arc::clone(&known.explainer)
        } else {
            let explainer = Arc::new(prepare(loaded, state).await?);
            let loaded = Arc::clone(loaded);
            *prepared = Some(Prepared { loaded, explainer: Arc::clone(&explainer) });
            explainer
        };
        let unanswerable = |why: &dyn ToString| (StatusCode::UNPROCESSABLE_ENTITY, why.to_string());
        explainer.explain(question, now).await.map_err(|why| unanswerable(&why))
    }
}

/// Reads files and makes keys, so not on a thread that answers others.
async fn prepare(loaded: &Arc<Loaded>, state: &State) -> Result<Explainer, (StatusCode, String)> {
    let (given, extensions) = (Arc::clone(loaded), Arc::clone(&state.extensions));
    let made = tokio::task::spawn_blocking(move || Explainer::with(&given, &extensions)).await;
    let defects = match made {
        Ok(Ok(explainer)) => return Ok(explainer),
        Ok(Err(defects)) => defects,
        Err(_) => Vec::new(),
    };
    let lines = defects.iter().map(|defect| format!("{}: {}", defect.key_path, defect.message));
    let why = lines.collect::<Vec<_>>().join("; ");
    log::warn!("the status page cannot explain: {why}");
    Err((StatusCode::SERVICE_UNAVAILABLE, format!("the parts cannot be made anew: {why}")))
}

/// No fault quotes what was sent: it may be a token after all.
fn question(body: &[u8]) -> Result<Question, String> {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(body) {
        return Err(format!("no JSON: line {}, column {}", error.line(), error.column()));
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|_| {
        "no question: write method and path, and if need be host, as (iam, app, session), claims \
         (an object), organisation (a UUID), headers (a list of lines), body (a text), client (an \
         address)"
    })?;
    let who = who(asked.kind, asked.claims, asked.organisation)?;
    let headers = asked
        .headers
        .iter()
        .map(|line| header_line(line).map_err(|_| "a header is no line such as Accept: text/html"))
        .collect::<Result<Vec<_>, _>>()?;
    if headers.iter().any(|(name, _)| CREDENTIALS.contains(name)) {
        return Err("credentials are not taken here: describe the caller by claims".to_owned());
    }
    let question = Question {
        method: asked.method,
        target: asked.path,
        host: asked.host,
        headers,
        body: None,
        client: asked.client,
        who,
    };
    Ok(match asked.body {
        Some(body) => question.carrying(Bytes::from(body)),
        None => question,
    })
}

fn who(
    kind: Described,
    claims: Option<Map<String, Value>>,
    organisation: Option<Uuid>,
) -> Result<Who, &'static str> {
    if organisation.is_some() && kind != Described::Session {
        return Err("an organisation is what a session's user has chosen: it needs as: session");
    }
    let Some(claims) = claims else { return Ok(Who::Nobody) };
    Ok(match kind {
        Described::Iam => Who::Claims { kind: Kind::Iam, claims },
        Described::App => Who::Claims { kind: Kind::App, claims },
        Described::Session => {
            Who::Session { claims, organisation: organisation.map(|Uuid(it)| it) }
        }
    })
}

/// For one question and those before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Headers that prove somebody.
const CREDENTIALS: [header::HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_the_command_line_reads_it() {
        let asked = json!({
            "method": "POST", "path": "/a?b=c", "host": "x.example", "as": "session",
            "claims": { "sub": "a" }, "organisation": "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11",
            "headers": ["Accept: text/html"], "body": "{}", "client": "192.0.2.1",
        });
        let question = question(asked.to_string().as_bytes()).unwrap();
        assert_eq!((&*question.method, &*question.target), ("POST", "/a?b=c"));
        assert!(matches!(question.who, Who::Session { organisation: Some(_), .. }));
        let names: Vec<_> = question.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept", "content-type"]);
        assert_eq!(question.body.as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn no_credential_is_taken_and_no_fault_quotes_what_was_sent() {
        for bad in [
            json!({ "method": "GET", "path": "/", "headers": ["Authorization: Bearer TOKEN"] }),
            json!({ "method": "GET", "path": "/", "headers": ["cookie: a=TOKEN"] }),
            json!({ "method": "GET", "path": "/", "headers": ["TOKEN"] }),
            json!({ "method": "GET", "path": "/", "claims": "TOKEN" }),
            json!({ "method": "GET", "path": "/", "TOKEN": 1 }),
            json!({ "method": "GET", "path": "/", "organisation": "TOKEN" }),
            json!({ "method": "TOKEN" }),
            json!("TOKEN"),
        ] {
            let why = question(bad.to_string().as_bytes()).unwrap_err();
            assert!(!why.contains("TOKEN"), "{why}");
        }
        assert!(question(b"{\"TOKEN").unwrap_err().contains("line 1"));
    }
}
