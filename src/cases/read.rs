//! Cases from YAML. Every fault of a file is told in one run, as with the configuration.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use serde_json::{Map, Value as Json};

use super::{Case, Expected, Wanted};
use crate::{
    config::{
        Config, Faults,
        key_path::Step,
        read::{Fields, Nothing, Read, Reader},
        suggest::{hint, quoted},
        yaml::{self, Entry, Node, Value},
    },
    explain::{Kind, Question, Who},
    organisation::Organisation,
    permission::Permission,
    refusal::Reason,
    telemetry::record::Verdict,
};

/// Longest file of cases, in bytes.
pub const LONGEST_CASES: usize = 16 << 20;

const FILE: &[&str] = &["callers", "cases"];
const CASE: &[&str] = &["name", "who", "request", "host", "headers", "body", "client", "expect"];
const WHO: &[&str] = &["by", "subject", "roles", "claims", "organisation", "permissions", "actor"];
const EXPECT: &[&str] = &[
    "decision",
    "status",
    "reason",
    "route",
    "upstream",
    "organisation",
    "subject",
    "credential",
    "would_refuse",
];
const DECISIONS: &[(&str, Verdict)] = &[
    ("forward", Verdict::Forward),
    ("login", Verdict::Login),
    ("refuse", Verdict::Refuse),
    ("own", Verdict::Own),
];

/// The cases of a file: a list, or a mapping with `cases` and the `callers` that they name.
///
/// What is wrong with it goes to `faults`; cases without fault are read all the same.
pub fn read(file: &str, text: &str, config: &Config, faults: &mut Faults) -> Vec<Case> {
    let mut cx = Reader::new(Path::new(""), &Nothing);
    let root = yaml::parse_long(file, text, &mut cx.faults);
    let cases = root.map(|root| File { config, callers: BTreeMap::new() }.read(&root, &mut cx));
    cx.faults.iter().for_each(|fault| faults.add(fault.clone()));
    cases.unwrap_or_default()
}

struct File<'c> {
    config: &'c Config,
    /// `None`: described, with a fault that is told already.
    callers: BTreeMap<String, Option<Who>>,
}

/// Who holds which kind of credential.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Iam,
    Session,
    App,
}

impl File<'_> {
    fn read(mut self, root: &Node, cx: &mut Reader<'_>) -> Vec<Case> {
        let list = if matches!(root.value, Value::Sequence(_)) {
            Some(root)
        } else {
            let Some(_) = Fields::of(root, FILE, cx) else { return Vec::new() };
            if let Some(callers) = root.key("callers").filter(|node| !node.is_null()) {
                cx.within(key("callers"), |cx| self.callers(callers, cx));
            }
            root.key("cases")
        };
        let Some(list) = list else {
            cx.fault(&root.position, "cases is missing: the list of cases");
            return Vec::new();
        };
        cx.within(key("cases"), |cx| {
            if !matches!(list.value, Value::Sequence(_)) {
                return cx.expected(list, "a list of cases").unwrap_or_default();
            }
            let elements = list.elements().iter().enumerate();
            elements
                .filter_map(|(at, node)| cx.within(Step::Index(at), |cx| self.case(at, node, cx)))
                .collect()
        })
    }

    fn callers(&mut self, node: &Node, cx: &mut Reader<'_>) {
        if !matches!(node.value, Value::Mapping(_)) {
            cx.expected::<()>(node, "a mapping from names to callers");
        }
        for Entry { key: name, position, node } in node.entries() {
            let who = cx.within(key(name), |cx| {
                if name == "nobody" {
                    cx.fault(position, "is the name of whoever brings no credential");
                }
                self.described(Some(name), node, cx)
            });
            self.callers.insert(name.clone(), who);
        }
    }

    fn case(&self, index: usize, node: &Node, cx: &mut Reader<'_>) -> Option<Case> {
        let mut case = Section::of(node, CASE, cx)?;
        let name: Option<String> = case.read("name", cx);
        let who = case.take("who", cx, |node, cx| self.who(node, cx));
        let line = case.need("request", cx, request_line);
        let host: Option<String> = case.read("host", cx);
        let mut headers = case.take("headers", cx, headers).unwrap_or_default();
        let body = case.take("body", cx, |node, _| Some(body(node)));
        let client: Option<Address> = case.read("client", cx);
        let expected = case.need("expect", cx, expected);
        let (true, Some((method, target)), Some(expected)) = (case.sound, line, expected) else {
            return None;
        };
        if let Some((_, true)) = body
            && !headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE)
        {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        Some(Case {
            place: node.position.clone(),
            index,
            name: name.unwrap_or_else(|| format!("{method} {target}")),
            question: Question {
                method,
                target,
                host,
                headers,
                body: body.map(|(bytes, _)| bytes),
                client: client.map(|Address(address)| address),
                who: who.unwrap_or_default(),
            },
            expected,
        })
    }

    fn who(&self, node: &Node, cx: &mut Reader<'_>) -> Option<Who> {
        let Value::Scalar { text, .. } = &node.value else {
            return self.described(None, node, cx);
        };
        if text == "nobody" {
            return Some(Who::Nobody);
        }
        // `None` inside: its fault is told where it is described.
        if let Some(caller) = self.callers.get(text) {
            return caller.clone();
        }
        let known = self.callers.keys().map(String::as_str).chain(["nobody"]);
        cx.wrong(node, &format!("is none of callers{}", hint(text, known)))
    }

    fn described(&self, name: Option<&str>, node: &Node, cx: &mut Reader<'_>) -> Option<Who> {
        let mut who = Section::of(node, WHO, cx)?;
        let words = [("iam", By::Iam), ("session", By::Session), ("app", By::App)];
        let by = who.take("by", cx, |node, cx| cx.word(node, &words)).unwrap_or(By::Iam);
        let claims = who.take("claims", cx, |node, cx| match node.json() {
            Json::Object(claims) => Some(claims),
            _ => cx.expected(node, "a mapping of claims"),
        });
        let mut claims = Claims(claims.unwrap_or_default());
        let subject: Option<String> = who.read("subject", cx);
        match subject.as_deref().or(name).map(Json::from) {
            Some(subject) if who.has("subject") => {
                who.claim("subject", &mut claims, "/sub", subject, cx);
            }
            Some(subject) => {
                claims.0.entry("sub").or_insert(subject);
            }
            None => {}
        }
        let app = by == By::App;
        who.only("roles", !app, "an app token carries permissions and no roles", cx);
        who.only("permissions", app, "go with `by: app`; else they come from roles", cx);
        who.only("actor", app, "goes with `by: app`", cx);
        let why = "an IAM token has none; the request names it, or `by: session` has chosen it";
        who.only("organisation", by != By::Iam, why, cx);
        if let Some(roles) = who.read::<Vec<String>>("roles", cx) {
            match self.config.iam.as_ref() {
                Some(iam) => who.claim("roles", &mut claims, &iam.roles, roles.into(), cx),
                None => who.fault("roles", "come from the IAM provider, and there is none", cx),
            }
        }
        if let Some(names) = who.take("permissions", cx, permissions) {
            who.claim("permissions", &mut claims, "/permissions", names.into(), cx);
        }
        if let Some(actor) = who.read::<String>("actor", cx) {
            who.claim("actor", &mut claims, "/act/sub", actor.into(), cx);
        }
        let organisation: Option<Organisation> = who.read("organisation", cx);
        if let (By::App, Some(organisation)) = (by, organisation) {
            let id = organisation.to_string();
            who.claim("organisation", &mut claims, "/organisationId", id.into(), cx);
        }
        let Claims(claims) = claims;
        who.sound.then(|| match by {
            By::Iam => Who::Claims { kind: Kind::Iam, claims },
            By::App => Who::Claims { kind: Kind::App, claims },
            By::Session => Who::Session { claims, organisation },
        })
    }
}

struct Claims(Map<String, Json>);

impl Claims {
    /// Writes a value where a JSON pointer leads; `None` when something stands there, or on the
    /// way.
    fn insert(&mut self, pointer: &str, value: Json) -> Option<()> {
        let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let mut steps = pointer.split('/').skip(1).map(unescape).peekable();
        let mut here = &mut self.0;
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                return here.insert(step, value).is_none().then_some(());
            }
            let next = here.entry(step).or_insert_with(|| Json::Object(Map::new()));
            here = next.as_object_mut()?;
        }
        None
    }
}

/// A mapping whose values are read one by one.
struct Section<'n> {
    node: &'n Node,
    /// Nothing was wrong so far.
    sound: bool,
}

impl<'n> Section<'n> {
    fn of(node: &'n Node, known: &[&'static str], cx: &mut Reader<'_>) -> Option<Self> {
        let fields = Fields::of(node, known, cx)?;
        Some(Self { node, sound: fields.all_known })
    }

    fn has(&self, name: &str) -> bool {
        self.node.key(name).is_some_and(|node| !node.is_null())
    }

    /// The value of a key; `None` when it is not there, or there and wrong.
    fn take<T>(
        &mut self,
        name: &str,
        cx: &mut Reader<'_>,
        read: impl FnOnce(&'n Node, &mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let node = self.node.key(name).filter(|node| !node.is_null())?;
        let value = cx.within(key(name), |cx| read(node, cx));
        self.sound &= value.is_some();
        value
    }

    fn read<T: Read>(&mut self, name: &str, cx: &mut Reader<'_>) -> Option<T> {
        self.take(name, cx, T::read)
    }

    fn need<T>(
        &mut self,
        name: &str,
        cx: &mut Reader<'_>,
        read: impl FnOnce(&'n Node, &mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        if !self.has(name) {
            self.fault(name, "is missing", cx);
        }
        self.take(name, cx, read)
    }

    fn fault(&mut self, name: &str, message: &str, cx: &mut Reader<'_>) {
        self.sound = false;
        let position = &self.node.key(name).unwrap_or(self.node).position;
        cx.within(key(name), |cx| cx.fault(position, message));
    }

    fn only(&mut self, name: &str, fits: bool, why: &str, cx: &mut Reader<'_>) {
        if self.has(name) && !fits {
            self.fault(name, why, cx);
        }
    }

    fn claim(
        &mut self,
        name: &str,
        claims: &mut Claims,
        pointer: &str,
        value: Json,
        cx: &mut Reader<'_>,
    ) {
        if claims.insert(pointer, value).is_none() {
            self.fault(name, &format!("stands in claims as well, at {pointer}"), cx);
        }
    }
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn request_line(node: &Node, cx: &mut Reader<'_>) -> Option<(String, String)> {
    let what = "a method and a path, such as GET /api/credential/v1?page=0";
    let line = cx.text(node, what)?;
    match line.split_once(' ') {
        Some((method, target)) if !method.is_empty() && !target.contains(' ') => {
            Some((method.to_owned(), target.to_owned()))
        }
        _ => cx.wrong(node, &format!("is not {what}")),
    }
}

fn headers(node: &Node, cx: &mut Reader<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    if !matches!(node.value, Value::Mapping(_)) {
        return cx.expected(node, "a mapping from names to values");
    }
    let mut read = Vec::new();
    let mut sound = true;
    for Entry { key: name, position, node } in node.entries() {
        cx.within(key(name), |cx| {
            let Ok(header_name) = HeaderName::try_from(name) else {
                sound = false;
                return cx.fault(position, "is not the name of a header");
            };
            if header_name == header::HOST {
                sound = false;
                return cx.fault(position, "is a key of its own: host");
            }
            let lines = match &node.value {
                Value::Sequence(lines) => lines,
                _ => std::slice::from_ref(node),
            };
            for line in lines {
                // Not quoted: it may hold a credential.
                if let Some(Ok(value)) = line.text().map(HeaderValue::try_from) {
                    read.push((header_name.clone(), value));
                } else {
                    sound = false;
                    cx.fault(&line.position, "is not the value of a header");
                }
            }
        });
    }
    sound.then_some(read)
}

/// The bytes, and whether they are JSON that was written as YAML.
fn body(node: &Node) -> (Bytes, bool) {
    match &node.value {
        Value::Scalar { text, .. } => (text.clone().into(), false),
        _ => (node.json().to_string().into(), true),
    }
}

struct Address(IpAddr);

impl Read for Address {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let text = cx.text(node, "an IP address")?;
        match text.parse() {
            Ok(address) => Some(Self(address)),
            Err(_) => cx.wrong(node, "is not an IP address"),
        }
    }

    fn schema(_: &mut crate::config::read::Schemas) -> Json {
        serde_json::json!({ "type": "string" })
    }
}

fn permissions(node: &Node, cx: &mut Reader<'_>) -> Option<Vec<String>> {
    let names = Vec::<String>::read(node, cx)?;
    let mut sound = true;
    for (name, node) in names.iter().zip(node.elements()) {
        if Permission::parse(name).is_none() {
            sound = false;
            cx.wrong::<()>(node, "is no permission");
        }
    }
    sound.then_some(names)
}

fn reason(node: &Node, cx: &mut Reader<'_>) -> Option<Reason> {
    let words: Vec<_> = Reason::ALL.iter().map(|reason| (reason.word(), *reason)).collect();
    cx.word(node, &words)
}

/// A decision, a reason, or both and more in a mapping.
fn expected(node: &Node, cx: &mut Reader<'_>) -> Option<Expected> {
    let anything = |decision, reason| Expected {
        decision,
        status: None,
        reason,
        route: Wanted::Anything,
        upstream: Wanted::Anything,
        organisation: Wanted::Anything,
        subject: Wanted::Anything,
        credential: Wanted::Anything,
        would_refuse: Wanted::Anything,
    };
    if let Value::Scalar { text, .. } = &node.value {
        let decision =
            DECISIONS.iter().find(|(word, _)| word == text).map(|(_, decision)| *decision);
        let reason = Reason::ALL.iter().find(|reason| reason.word() == text).copied();
        if let Some(decision) = decision.or(reason.map(|_| Verdict::Refuse)) {
            return Some(anything(decision, reason));
        }
        let decisions = DECISIONS.iter().map(|(word, _)| *word);
        let known = decisions.chain(Reason::ALL.iter().map(|reason| reason.word()));
        let what = format!("is no decision and no reason{}", hint(text, known));
        return cx.wrong(node, &what);
    }
    let mut keys = Section::of(node, EXPECT, cx)?;
    let decision = keys.take("decision", cx, |node, cx| cx.word(node, DECISIONS));
    let reason = keys.take("reason", cx, reason);
    let status = keys.read::<u32>("status", cx).map(|status| u16::try_from(status).unwrap_or(0));
    match (decision, reason) {
        (None, None) if keys.sound => {
            keys.fault("decision", "is missing: forward, login or refuse", cx);
        }
        (Some(decision), Some(_)) if decision != Verdict::Refuse => {
            keys.fault("reason", "goes with the decision refuse", cx);
        }
        _ => {}
    }
    let decision = decision.unwrap_or(Verdict::Refuse);
    let given = match (decision, reason) {
        (Verdict::Refuse, reason) => reason.map(Reason::status),
        (Verdict::Login, _) => Some(302),
        // What the upstream will answer is not known here; `explain` calls it 200.
        (Verdict::Forward, _) => Some(200),
        (Verdict::Own, _) => None,
    };
    if let (Some(status), Some(given)) = (status, given)
        && status != given
    {
        let of = reason.map_or(decision.word(), Reason::word);
        keys.fault("status", &format!("can only be {given} for {of}"), cx);
    }
    let mut expected = anything(decision, reason);
    expected.status = status;
    expected.route = keys.expectation("route", cx, String::read);
    expected.upstream = keys.expectation("upstream", cx, String::read);
    expected.organisation = keys.expectation("organisation", cx, Organisation::read);
    expected.subject = keys.expectation("subject", cx, String::read);
    expected.credential = keys.expectation("credential", cx, credential);
    expected.would_refuse = keys.expectation("would_refuse", cx, self::reason);
    keys.sound.then_some(expected)
}

fn credential(node: &Node, cx: &mut Reader<'_>) -> Option<String> {
    const WORDS: &[&str] =
        &["none", "passed", "iam", "app", "delegated", "technical_user", "static"];
    let text = cx.text(node, "a word")?;
    if WORDS.contains(&text) {
        return Some(text.to_owned());
    }
    let known = hint(text, WORDS.iter().copied());
    cx.fault(&node.position, format!("{} is no credential{known}", quoted(text)));
    None
}

impl<'n> Section<'n> {
    /// `null` expects none, a key that is left out expects nothing.
    fn expectation<T>(
        &mut self,
        name: &str,
        cx: &mut Reader<'_>,
        read: impl FnOnce(&'n Node, &mut Reader<'_>) -> Option<T>,
    ) -> Wanted<T> {
        match self.node.key(name) {
            None => Wanted::Anything,
            Some(node) if node.is_null() => Wanted::Just(None),
            Some(_) => Wanted::Just(self.take(name, cx, read)),
        }
    }
}
