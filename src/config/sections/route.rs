//! What is reachable, and for whom.

use std::time::Duration;

use super::Rate;
use crate::config::{
    read::{choice, section},
    types::{ByteSize, HostName, OrganisationPlaces, PathPattern},
};
use crate::permission::Requirement;

section! {
    /// What is reachable, for whom, and with which credential.
    pub struct Route {
        /// Pattern as Core writes it: `/api/credential/v1/{id}`, `/ssi/{*rest}`.
        path: PathPattern,
        /// Hosts of this route; default: all that are answered.
        hosts: Vec<HostName> = "[]",
        /// Methods; default: every one. GET stands for HEAD as well.
        methods: Vec<Method> = "[]",
        /// Whether a credential is asked for.
        access: Access = "required",
        /// Credentials accepted. Left out, or in an included file, it may name what this gateway
        /// has no section to judge by: sessions where nobody logs in, for example. That is then
        /// not accepted; of what is left there has to be one.
        accept: Vec<Accept> = "[session, iam]",
        /// Permissions demanded: a list for any of, `{ all: [...] }` for all of.
        permissions: Requirement = "[]",
        /// IAM roles, any of which is demanded.
        roles: Vec<String> = "[]",
        /// Where the request names its organisation.
        organisation: OrganisationPlaces = "[]",
        /// Whether a query may reach beyond the organisation (`showSystemHistory=true`).
        cross_organisation: bool = "false",
        /// In whose name the upstream is called.
        act_as: ActAs = "caller",
        /// CEL over claims, request and organisation; must be true.
        condition: Option<String> = "null",
        /// false: decide, record what would have been refused, let it pass.
        enforce: bool = "true",
        /// Bounds of this route.
        limits: RouteLimits = "{}",
        /// Time-outs of this route, where they differ from the upstream's.
        timeouts: RouteTimeouts = "{}",
        /// Whether a GET may become a WebSocket (RFC 6455). Elsewhere, and for other protocols, Upgrade is ignored.
        websocket: bool = "false",
        /// Name of the upstream.
        upstream: String,
    }
}

choice! {
    /// A request method.
    pub enum Method {
        Get = "GET", Head = "HEAD", Post = "POST", Put = "PUT", Patch = "PATCH",
        Delete = "DELETE", Options = "OPTIONS",
    }
}

choice! {
    /// Whether a credential is asked for.
    pub enum Access { Required = "required", Public = "public" }
}

/// A kind of credential: `session`, `iam`, `app`, `certificate`, or `{ authenticator: NAME }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// `session`.
    Session,
    /// `iam`.
    Iam,
    /// `app`.
    App,
    /// `certificate`.
    Certificate,
    /// `{ authenticator: NAME }`: one that the program was built with.
    Authenticator(String),
}

section! {
    /// Bounds of one route.
    pub struct RouteLimits {
        /// Request body.
        body: Option<ByteSize> = "null",
        /// Requests from one caller.
        requests: Option<Rate> = "null",
    }
}

section! {
    /// Time-outs of one route.
    pub struct RouteTimeouts {
        /// Between two reads from the upstream: how long an answer, a stream or a WebSocket may be silent.
        read: Option<Duration> = "null",
        /// Between two writes.
        write: Option<Duration> = "null",
    }
}

/// In whose name the upstream is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActAs {
    /// `caller`.
    Caller,
    /// `{ technical_user: NAME }`.
    TechnicalUser(String),
    /// `{ delegate: NAME }`: NAME on behalf of the caller.
    Delegate(String),
}
