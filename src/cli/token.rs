//! `portcullis token inspect`: what a token says, and whether this configuration would take it.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{ConfigFile, EX_CONFIG, complain, print, run};
use crate::{
    bearer::MAX_TOKEN,
    config,
    explain::{Explainer, Judgement},
    extension::Extensions,
    time::Timestamp,
};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Read a token from standard input, and say what it is worth.
    ///
    /// Prints header and claims, without the signature, and whether this configuration takes the
    /// token, as what, and if not, why not. The issuers' keys are fetched as `run` does.
    ///
    /// Exits with 0 when the token counts as something, with 1 when it does not, with 65 when what
    /// was read is no JWT, with 69 when the keys to judge it cannot be had, and with 78 when the
    /// configuration has faults.
    ///
    /// For example: portcullis token inspect --config gateway.yaml < token
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was read is no token (`EX_DATAERR`).
const EX_DATAERR: u8 = 65;
/// Somebody whose answer is needed is away (`EX_UNAVAILABLE`).
const EX_UNAVAILABLE: u8 = 69;

pub(super) fn inspect(command: &Inspect, extensions: &Arc<Extensions>) -> u8 {
    let loaded = match config::load(&command.config.config) {
        Ok(loaded) => loaded,
        Err(faults) => return complain(&faults, EX_CONFIG),
    };
    run::install_crypto();
    let explainer = match Explainer::with(&loaded, extensions) {
        Ok(explainer) => explainer,
        Err(defects) => return complain(&run::faults(&loaded, defects), EX_CONFIG),
    };
    let token = match read() {
        Ok(token) => token,
        Err(why) => return complain(&why, EX_DATAERR),
    };
    let Some([header, claims]) = parts(&token) else {
        return complain(
            &"what was read is no JWT: three parts of base64url with dots",
            EX_DATAERR,
        );
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, 1),
    };
    let now = Timestamp::now();
    let judgements = runtime.block_on(explainer.judge(&token, now));
    let text = if command.json {
        let object = object(&header, &claims, &judgements);
        serde_json::to_string_pretty(&object).unwrap_or_default() + "\n"
    } else {
        page(&header, &claims, &judgements, now)
    };
    let counts = judgements.iter().any(|it| it.verdict.is_ok());
    let away = |it: &Judgement| it.verdict.as_ref().is_err_and(|why| why.reason.status() >= 500);
    let code = match counts {
        true => 0,
        false if judgements.iter().any(away) => EX_UNAVAILABLE,
        false => 1,
    };
    print(&text).max(code)
}

/// Standard input, with or without the `Bearer` of a header line before the token.
fn read() -> Result<SecretString, String> {
    let most = MAX_TOKEN + 64;
    let mut text = String::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX) + 1;
    let read = io::stdin().lock().take(bound).read_to_string(&mut text);
    let read = read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    if read > most {
        return Err(format!("the token is longer than {MAX_TOKEN} bytes, which is the most"));
    }
    let token = text.trim();
    Ok(token.strip_prefix("Bearer ").unwrap_or(token).trim().into())
}

/// Header and claims; nobody has verified them.
fn parts(token: &SecretString) -> Option<[Value; 2]> {
    let mut parts = token.expose_secret().split('.');
    let mut next = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
    };
    let found = [next()?, next()?];
    (parts.next().is_some() && parts.next().is_none()).then_some(found)
}

fn object(header: &Value, claims: &Value, judgements: &[Judgement]) -> Value {
    let verdicts = judgements.iter().map(|Judgement { kind, verdict }| match verdict {
        Ok(identity) => json!({ "as": kind, "accepted": true, "subject": *identity.subject }),
        Err(refusal) => json!({
            "as": kind,
            "accepted": false,
            "reason": refusal.reason.word(),
            "detail": refusal.detail,
        }),
    });
    let verdicts: Vec<_> = verdicts.collect();
    json!({ "header": header, "claims": claims, "verdicts": verdicts })
}

fn page(header: &Value, claims: &Value, judgements: &[Judgement], now: Timestamp) -> String {
    let mut lines = vec![format!("header  {header}"), format!("claims  {claims:#}")];
    for name in ["iat", "nbf", "exp"] {
        let Some(second) = claims.get(name).and_then(Value::as_f64) else { continue };
        lines.push(format!("{name}     {}", told(second, now)));
    }
    if judgements.is_empty() {
        lines.push("this configuration takes no tokens: it has neither iam nor sts".to_owned());
    }
    for Judgement { kind, verdict } in judgements {
        lines.push(match verdict {
            Ok(identity) => format!("✓ as {kind}: {identity}"),
            Err(refusal) => {
                format!("✗ as {kind}: {}: {}", refusal.reason.word(), refusal.detail)
            }
        });
    }
    // A claim may hold what would move a terminal's cursor.
    let plain = |c: char| c == '\n' || !c.is_control();
    let text: String = lines.join("\n").chars().filter(|c| plain(*c)).collect();
    text + "\n"
}

/// A time of a token, and how far off it is.
#[expect(clippy::cast_possible_truncation, reason = "seconds of a calendar, or none")]
fn told(second: f64, now: Timestamp) -> String {
    let Ok(at) = jiff::Timestamp::from_second(second as i64) else {
        return "is no time".to_owned();
    };
    let off = at.as_second().saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX));
    let span = std::time::Duration::from_secs(off.unsigned_abs());
    let (hours, minutes, seconds) =
        (span.as_secs() / 3_600, span.as_secs() / 60 % 60, span.as_secs() % 60);
    let span = format!("{hours}h {minutes:02}m {seconds:02}s");
    if off < 0 { format!("{at} ({span} ago)") } else { format!("{at} (in {span})") }
}
