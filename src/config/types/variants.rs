//! Readers of the values that can be written in more than one shape.

use serde_json::{Value as Json, json};

use crate::config::{
    key_path::Step,
    read::{Read, Reader, Schemas, choice, section},
    sections::{Accept, ActAs, Balance, LogTarget, Redis, SessionStore, SystemRole, UpstreamAuth},
    suggest::quoted,
    types::Secret,
    yaml::{Node, Value},
};
use crate::permission::{Permission, Requirement};

impl Read for Permission {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "a permission such as CREDENTIAL_ISSUE";
        let text = cx.text(node, what)?;
        match Self::parse(text) {
            Some(permission) => Some(permission),
            None => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,63}$" })
    }
}

section! {
    /// Permissions, every one of which is demanded.
    struct AllOf {
        /// Names.
        all: Vec<Permission>,
    }
}

impl Read for Requirement {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::Mapping(_)) {
            let AllOf { all } = AllOf::read(node, cx)?;
            if all.is_empty() {
                cx.fault(&node.position, "names no permission; leave `permissions` out instead");
                return None;
            }
            return Some(Self::AllOf(all.into_iter().collect()));
        }
        if !matches!(node.value, Value::Sequence(_)) {
            return cx.expected(node, "a list of permissions, or { all: [...] }");
        }
        let any: Vec<Permission> = Read::read(node, cx)?;
        Some(if any.is_empty() { Self::Nothing } else { Self::AnyOf(any.into_iter().collect()) })
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [Vec::<Permission>::schema(schemas), AllOf::schema(schemas)] })
    }
}

section! {
    /// A system role that acts on behalf of users.
    struct DelegatedRole {
        /// Names; `*` only at the end of one.
        permissions: Vec<String>,
        /// Only on behalf of a user: of any when empty, else of users who hold one of these.
        delegation: Option<Vec<String>> = "null",
    }
}

impl Read for SystemRole {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Sequence(_) => {
                Some(Self { permissions: Read::read(node, cx)?, delegation: None })
            }
            Value::Mapping(_) => {
                let DelegatedRole { permissions, delegation } = Read::read(node, cx)?;
                Some(Self { permissions, delegation })
            }
            _ => cx.expected(node, "a list of permissions, or { permissions, delegation }"),
        }
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [Vec::<String>::schema(schemas), DelegatedRole::schema(schemas)] })
    }
}

choice! {
    /// What the upstream demands of a request.
    enum AuthMode {
        Sts = "STS", Iam = "IAM", None = "NONE",
        UnsafeNone = "UNSAFE_NONE", UnsafeStatic = "UNSAFE_STATIC", Extension = "EXTENSION",
    }
}

choice! {
    /// The mode with an audience.
    enum StsMode { Sts = "STS" }
}

choice! {
    /// The mode with a token.
    enum StaticMode { UnsafeStatic = "UNSAFE_STATIC" }
}

choice! {
    /// The mode with a source.
    enum ExtensionMode { Extension = "EXTENSION" }
}

choice! {
    /// The modes with nothing.
    enum PlainMode { Iam = "IAM", None = "NONE", UnsafeNone = "UNSAFE_NONE" }
}

section! {
    /// An app token for this audience.
    struct StsAuth {
        /// An app token.
        mode: StsMode,
        /// `aud` of the app token.
        audience: String,
    }
}

section! {
    /// One static token for everybody.
    struct StaticAuth {
        /// A static token.
        mode: StaticMode,
        /// The token.
        static_token: Secret,
    }
}

section! {
    /// What an extension gets.
    struct ExtensionAuth {
        /// What an extension gets.
        mode: ExtensionMode,
        /// Name of a credential source that the program was built with; the shipped one has none.
        source: String,
    }
}

section! {
    /// The caller's IAM token, or none.
    struct PlainAuth {
        /// IAM passes the caller's IAM token; NONE sends none and takes public routes only.
        mode: PlainMode,
    }
}

impl Read for UpstreamAuth {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Mapping(_)) {
            return cx.expected(node, "a mapping such as { mode: STS, audience: one-core }");
        }
        let Some(mode) = node.key("mode") else {
            cx.within(Step::Key("mode".into()), |cx| {
                let modes: Vec<_> = AuthMode::ALL.iter().map(|mode| mode.as_str()).collect();
                let message = format!("is missing; one of {}", modes.join(", "));
                cx.fault(&node.position, message);
            });
            return None;
        };
        let mode = cx.within(Step::Key("mode".into()), |cx| AuthMode::read(mode, cx))?;
        // The mode decides which keys there are, so that a key of another mode is unknown.
        match mode {
            AuthMode::Sts => {
                let StsAuth { mode: StsMode::Sts, audience } = Read::read(node, cx)?;
                Some(Self::Sts { audience })
            }
            AuthMode::UnsafeStatic => {
                let StaticAuth { mode: StaticMode::UnsafeStatic, static_token } =
                    Read::read(node, cx)?;
                Some(Self::UnsafeStatic { static_token })
            }
            AuthMode::Extension => {
                let ExtensionAuth { mode: ExtensionMode::Extension, source } =
                    Read::read(node, cx)?;
                Some(Self::Extension { source })
            }
            AuthMode::Iam | AuthMode::None | AuthMode::UnsafeNone => {
                Some(match PlainAuth::read(node, cx)?.mode {
                    PlainMode::Iam => Self::Iam,
                    PlainMode::None => Self::None,
                    PlainMode::UnsafeNone => Self::UnsafeNone,
                })
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({
            "oneOf": [
                StsAuth::schema(schemas),
                PlainAuth::schema(schemas),
                StaticAuth::schema(schemas),
                ExtensionAuth::schema(schemas),
            ],
        })
    }
}

choice! {
    /// What chooses the server.
    enum HashInput { Cookie = "cookie" }
}

section! {
    /// One session, one server: by rendezvous hashing, so that a server that goes moves only its own sessions. Where there is no session, by caller, and else by the client's address.
    struct HashBalance {
        /// What chooses the server.
        hash: HashInput,
    }
}

impl Read for Balance {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::Mapping(_)) {
            let HashBalance { hash: HashInput::Cookie } = Read::read(node, cx)?;
            return Some(Self::HashCookie);
        }
        let words = [("round_robin", Self::RoundRobin), ("least_requests", Self::LeastRequests)];
        cx.word(node, &words)
    }

    fn schema(schemas: &mut Schemas) -> Json {
        let words = json!({ "enum": ["round_robin", "least_requests"] });
        json!({ "anyOf": [words, HashBalance::schema(schemas)] })
    }
}

section! {
    /// A store outside of the cookie.
    struct OutsideStore {
        /// Redis.
        redis: Redis,
    }
}

impl Read for SessionStore {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::Mapping(_)) {
            return OutsideStore::read(node, cx).map(|outside| Self::Redis(outside.redis));
        }
        cx.word(node, &[("cookie", ())]).map(|()| Self::Cookie)
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [{ "const": "cookie" }, OutsideStore::schema(schemas)] })
    }
}

choice! {
    /// A credential that the program itself knows.
    enum AcceptWord { Session = "session", Iam = "iam", App = "app", Certificate = "certificate" }
}

section! {
    /// A credential that the program itself does not know.
    struct AcceptKeys {
        /// Name of an authenticator that the program was built with; the shipped one has none.
        authenticator: String,
    }
}

impl Read for Accept {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::Mapping(_)) {
            let AcceptKeys { authenticator } = AcceptKeys::read(node, cx)?;
            return Some(Self::Authenticator(authenticator));
        }
        Some(match AcceptWord::read(node, cx)? {
            AcceptWord::Session => Self::Session,
            AcceptWord::Iam => Self::Iam,
            AcceptWord::App => Self::App,
            AcceptWord::Certificate => Self::Certificate,
        })
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [AcceptWord::schema(schemas), AcceptKeys::schema(schemas)] })
    }
}

section! {
    /// In whose name, when not the caller's.
    struct ActAsKeys {
        /// A technical user, in its own name.
        technical_user: Option<String> = "null",
        /// A technical user, on behalf of the caller.
        delegate: Option<String> = "null",
    }
}

impl Read for ActAs {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Mapping(_)) {
            return cx.word(node, &[("caller", ())]).map(|()| Self::Caller);
        }
        let keys = ActAsKeys::read(node, cx)?;
        match (keys.technical_user, keys.delegate) {
            (Some(name), None) => Some(Self::TechnicalUser(name)),
            (None, Some(name)) => Some(Self::Delegate(name)),
            _ => {
                cx.fault(&node.position, "must name one of technical_user and delegate");
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [{ "const": "caller" }, ActAsKeys::schema(schemas)] })
    }
}

section! {
    /// A file to which records are appended.
    struct LogFile {
        /// Its path.
        file: std::path::PathBuf,
    }
}

section! {
    /// The local syslog, to which records are sent in the form of RFC 5424.
    struct LogSyslog {
        /// Path of its socket, usually `/dev/log`.
        syslog: std::path::PathBuf,
    }
}

impl Read for LogTarget {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.value, Value::Mapping(_)) {
            return if node.key("syslog").is_some() {
                LogSyslog::read(node, cx).map(|target| Self::Syslog(target.syslog))
            } else {
                LogFile::read(node, cx).map(|target| Self::File(target.file))
            };
        }
        let text = cx.text(node, "stdout, stderr, off, { file: PATH } or { syslog: SOCKET }")?;
        match text {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            "off" => Some(Self::Off),
            other => {
                let message = format!(
                    "{} is none of stdout, stderr, off, {{ file: PATH }}, {{ syslog: SOCKET }}",
                    quoted(other)
                );
                cx.fault(&node.position, message);
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Json {
        json!({ "anyOf": [
            { "enum": ["stdout", "stderr", "off"] },
            LogFile::schema(schemas),
            LogSyslog::schema(schemas),
        ] })
    }
}
