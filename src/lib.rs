//! Portcullis: the identity-aware edge proxy in front of Procivis One Core.
//!
//! A request passes the modules in this order, in one direction; each step can only hand its
//! result to the next, and a refusal at any of them is answered there.
//!
//! | step | module | what it does |
//! | --- | --- | --- |
//! | 1 | [`listener`], [`connection`] | TCP and TLS, the admin listener, start and stop |
//! | 2 | [`request`] | the trusted view: one Host, one path, no foreign identity headers |
//! | 3 | [`login`], [`oidc`] | our own endpoints: login, callback, logout, session |
//! | 4 | [`route`] | host, method and path to one route |
//! | 5 | [`authentication`], [`sessions`], [`session`], [`bearer`], [`jwks`], [`certificate`] | who is asking |
//! | | [`rate_limit`] | not more often than they may |
//! | 6 | [`organisation`], [`lookup`] | for which organisation |
//! | 7 | [`policy`], [`roles`] | may they: a permit, or a refusal |
//! | 8 | [`credential`], [`sts`], [`technical_user`] | the one credential that the upstream demands |
//! | 9 | [`upstream`] | the server that answers |
//! | 10 | [`gateway`] | the phases of Pingora; every response |
//! | 11 | [`telemetry`], [`trace_context`] | access record, audit record, metrics, traces |
//!
//! [`admission`] is steps 4 to 8 as one function; the server and [`explain`] call the same, which
//! tells its steps ([`step`]) to whoever listens. [`cases`] holds what it decides against what is
//! expected. [`watch`] runs beside all of them, and tells when an upstream no longer is what the
//! routes say; [`perimeter`] tells when one that checks nothing can be reached around us.
//! [`config`] is read, [`assembly`] makes the parts from it, and [`live`] has them at work until
//! others take their place. [`extension`] is what somebody else has built in, [`status`] what
//! operators see. [`refusal`] is the table
//! of everything that is answered instead of forwarded.
//!
//! # What is stable
//!
//! [`extension`] is the library's public interface, and the only part of it that semantic versioning
//! covers. Everything else is public for the program, its tests and those who read the code, and
//! changes without notice. Of the program the version covers the keys of `gateway.yaml` and their
//! meaning, its commands and exit codes, reasons with their status codes, fields of records, names and
//! labels of metrics, and headers towards clients and upstreams. Things may be added in a minor version:
//! keys, reasons, fields, metrics, methods with a default. Before 1.0 a minor version may also take away
//! or change, which the changelog then says.
//!
//! # Purity
//!
//! What decides (`request`, `route`, `policy`, `organisation`, `session`, `bearer`, `sts::cache`,
//! `sts::issuer`) names no framework, no HTTP client and no clock: time is an argument.

pub mod admission;
pub mod answer;
pub mod assembly;
pub mod authentication;
pub mod bearer;
pub mod cases;
pub mod certificate;
pub mod cli;
pub mod config;
pub mod connection;
pub mod credential;
pub mod explain;
pub mod extension;
mod flight;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod gateway;
pub mod http_client;
pub mod identity;
pub mod jwks;
pub mod listener;
pub mod live;
pub mod login;
pub mod lookup;
pub mod oauth_client;
pub mod oidc;
pub mod organisation;
pub mod perimeter;
pub mod permission;
pub mod policy;
pub mod rate_limit;
pub mod refusal;
pub mod request;
pub mod roles;
pub mod route;
pub mod session;
pub mod sessions;
pub mod status;
pub mod step;
pub mod stream;
pub mod sts;
pub mod technical_user;
pub mod telemetry;
pub mod time;
pub mod trace_context;
pub mod upstream;
pub mod watch;
