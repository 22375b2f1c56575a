//! One record as it is written: JSON for programs, text for people.

use std::{fmt::Write as _, net::IpAddr};

use serde::Serialize;

use super::resources::Resources;
use crate::{organisation::Organisation, trace_context::TraceId};

#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) time: jiff::Timestamp,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u32>,
    pub(super) request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<TraceId>,
    pub(super) client: Option<IpAddr>,
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) named: Option<Organisation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roles: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permissions: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) own_organisation: Option<Organisation>,
    pub(super) route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Option<Resources<'a>>,
    pub(super) upstream: Option<&'a str>,
    pub(super) proof: Option<&'static str>,
    pub(super) issuer: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) technical_user: Option<&'a str>,
    pub(super) organisation: Option<Organisation>,
    pub(super) decision: Option<&'static str>,
    pub(super) credential: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audience: Option<&'a str>,
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) would_refuse: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration_ms: Option<f64>,
}

impl Line<'_> {
    /// For people: what happened first, in columns, then to whom, on which route and why.
    pub(super) fn text(&self, coloured: bool) -> String {
        let Self { method, .. } = self;
        let paint = |colour| if coloured { colour } else { "" };
        let (dim, end) = (paint(DIM), paint(END));
        let status = self.status.unwrap_or_default();
        let mut text = format!(
            "{dim}{}{end} {:<12} {}{status:>3}{end} {method:<7} {:>9.1}ms {}",
            self.time.strftime("%H:%M:%S%.3f"),
            self.kind,
            paint(match status {
                200..300 => GREEN,
                300..400 => CYAN,
                400..500 => YELLOW,
                _ => RED,
            }),
            self.duration_ms.unwrap_or_default(),
            Plain(self.path),
        );
        let named = [
            ("decision", self.decision),
            ("reason", self.reason),
            ("would_refuse", self.would_refuse),
            ("event", self.event),
            ("route", self.route),
            ("upstream", self.upstream),
            ("credential", self.credential),
            ("subject", self.subject),
            ("token_id", self.token_id),
            ("query", self.query),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                let value = Plain(value);
                let _ = write!(text, " {dim}{name}={end}{value}");
            }
        }
        let organisations = [
            ("organisation", self.organisation),
            ("named", self.named),
            ("own_organisation", self.own_organisation),
        ];
        for (name, organisation) in organisations {
            if let Some(organisation) = organisation {
                let _ = write!(text, " {dim}{name}={end}{organisation}");
            }
        }
        for (name, held) in [("roles", &self.roles), ("permissions", &self.permissions)] {
            if let Some(held) = held {
                let _ = write!(text, " {dim}{name}={end}{}", Plain(&held.join(",")));
            }
        }
        if let Some(client) = self.client {
            let _ = write!(text, " {dim}client={end}{client}");
        }
        let _ = write!(text, " {dim}request_id={end}{}", Plain(self.request_id));
        if let Some(trace) = self.trace_id {
            let _ = write!(text, " {dim}trace_id={end}{trace}");
        }
        if let Some(detail) = self.detail {
            let _ = write!(text, " {dim}detail={end}\"{}\"", Plain(detail));
        }
        text
    }
}

const DIM: &str = "\x1b[2m";
const END: &str = "\x1b[0m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

/// Text from outside on a terminal: control characters are escaped, so no line can be forged.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_default())
            } else {
                f.write_char(character)
            }
        })
    }
}
