//! `portcullis explain`: why a request is forwarded or refused.

mod page;

use std::{
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use self::page::Page;
use super::{ConfigFile, EX_CONFIG, EX_UNAVAILABLE, complain, print, run};
use crate::{
    config,
    explain::{Explainer, Explanation, Kind, Question, Who, header_line},
    extension::Extensions,
    organisation::Organisation,
    refusal::Reason,
    telemetry::record::Verdict,
    time::Timestamp,
};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// The method, as it would be sent.
    #[arg(value_name = "METHOD")]
    method: String,
    /// Path and query, as they would be sent (quote them: & means something to a shell).
    #[arg(value_name = "PATH")]
    target: String,
    /// The host that is asked. Default: that of `public_url`.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The bearer token that is sent: `-` reads it from standard input, `@FILE` from a file.
    ///
    /// Verified with the issuer's keys, which are fetched as `run` does. A token that is written
    /// here stands in the shell's history and in `ps`; prefer `-`.
    #[arg(long, value_name = "JWT", conflicts_with = "claims")]
    token: Option<String>,
    /// A caller with these claims, a JSON object in a file; `-` reads it from standard input.
    ///
    /// The signature is taken to be good, and nobody is asked. `iss`, `aud`, `sub` and `exp` are
    /// filled in where they are missing; what is there is judged as it stands.
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// What the claims are of.
    #[arg(long = "as", value_name = "KIND", default_value = "iam", requires = "claims")]
    kind: Described,
    /// The organisation that the session's user has chosen.
    #[arg(long, value_name = "UUID", requires = "claims", value_parser = organisation)]
    organisation: Option<Organisation>,
    /// A header line, such as `Accept: text/html`; repeat it for more.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header_line)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The body, from a file; `-` reads standard input. JSON, unless a header says otherwise.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The client's address, for conditions, trusted proxies and the perimeter. Default: one that
    /// the perimeter allows.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// When it is asked: 2026-01-31T12:00:00Z, or seconds since 1970. Default: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Described {
    /// An IAM token.
    Iam,
    /// An app token.
    App,
    /// The IAM token of somebody who has logged in with a browser.
    Session,
}

const EXAMPLES: &str = "\
Examples:
  portcullis explain GET /api/credential/v1
  portcullis explain POST /api/did/v1 --token - --body did.json < token
  portcullis explain GET '/api/did/v1?organisationId=UUID' --claims alice.json
  portcullis explain GET /desk --claims alice.json --as session --json
  portcullis explain GET /desk --header 'Accept: text/html'

Exit codes: 0 forwarded, sent to the login, or answered by the gateway itself; 1 refused; 2 wrong \
usage; 66 a file cannot be read; 69 the issuer's keys cannot be had; 78 the configuration has \
faults.";

/// What is asked about cannot be read (`EX_NOINPUT`).
const EX_NOINPUT: u8 = 66;
const EX_USAGE: u8 = 2;
/// A token, claims or a body longer than any that a gateway takes.
const LONGEST: u64 = 16 * 1024 * 1024;

pub(super) fn explain(command: &Explain, extensions: &Arc<Extensions>) -> u8 {
    let loaded = match config::load(&command.config.config) {
        Ok(loaded) => loaded,
        Err(faults) => return complain(&faults, EX_CONFIG),
    };
    run::install_crypto();
    let explainer = match Explainer::with(&loaded, extensions) {
        Ok(explainer) => explainer,
        Err(defects) => return complain(&run::faults(&loaded, defects), EX_CONFIG),
    };
    let question = match command.question() {
        Ok(question) => question,
        Err((message, code)) => return complain(&message, code),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, 1),
    };
    let now = command.at.unwrap_or_else(Timestamp::now);
    let found = match runtime.block_on(answer(&explainer, &question, now)) {
        Ok(found) => found,
        Err((message, code)) => return complain(&message, code),
    };
    let text = if command.json {
        serde_json::to_string_pretty(&found).unwrap_or_default() + "\n"
    } else {
        Page::fitting().render(&found)
    };
    print(&text).max(u8::from(found.decision == Verdict::Refuse))
}

async fn answer(
    explainer: &Explainer,
    question: &Question,
    now: Timestamp,
) -> Result<Explanation, (String, u8)> {
    let found = explainer
        .explain(question, now)
        .await
        .map_err(|unanswerable| (unanswerable.to_string(), EX_USAGE))?;
    // Without its issuer's keys nothing is known of a token, so that is no answer.
    let keyless = matches!(found.reason, Some(Reason::IamUnavailable | Reason::StsUnavailable));
    if keyless && let Err(missing) = explainer.fetch_keys().await {
        let lines = missing.iter().map(|(whose, error)| format!("the {whose}'s keys: {error}"));
        let why = lines.collect::<Vec<_>>().join("; ");
        let message = format!(
            "the token cannot be judged: {why}\n\
             a caller who is described with --claims needs no keys"
        );
        return Err((message, EX_UNAVAILABLE));
    }
    Ok(found)
}

impl Explain {
    fn question(&self) -> Result<Question, (String, u8)> {
        let dash =
            |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let readers = [self.token.as_deref() == Some("-"), dash(&self.claims), dash(&self.body)];
        if readers.iter().filter(|reads| **reads).count() > 1 {
            return Err(("standard input can be read for one thing only".into(), EX_USAGE));
        }
        if self.organisation.is_some() && self.kind != Described::Session {
            let message =
                "--organisation is what a session's user has chosen: it needs --as session";
            return Err((message.into(), EX_USAGE));
        }
        let unreadable = |message| (message, EX_NOINPUT);
        let question = Question {
            method: self.method.clone(),
            target: self.target.clone(),
            host: self.host.clone(),
            headers: self.header.clone(),
            body: None,
            client: self.client,
            who: self.who().map_err(unreadable)?,
        };
        match &self.body {
            Some(path) => Ok(question.carrying(read(path).map_err(unreadable)?.into())),
            None => Ok(question),
        }
    }

    fn who(&self) -> Result<Who, String> {
        if let Some(token) = &self.token {
            return Ok(Who::Bearer(self::token(token)?.into()));
        }
        let Some(path) = &self.claims else { return Ok(Who::Nobody) };
        let claims: Map<String, Value> = serde_json::from_slice(&read(path)?)
            .map_err(|error| format!("{}: no JSON object of claims: {error}", path.display()))?;
        Ok(match self.kind {
            Described::Iam => Who::Claims { kind: Kind::Iam, claims },
            Described::App => Who::Claims { kind: Kind::App, claims },
            Described::Session => Who::Session { claims, organisation: self.organisation },
        })
    }
}

/// The token itself, without the scheme that is often copied along.
fn token(given: &str) -> Result<String, String> {
    let text = match given.strip_prefix('@') {
        Some(file) => text(Path::new(file))?,
        None if given == "-" => text(Path::new("-"))?,
        None => given.to_owned(),
    };
    let text = text.trim();
    let bare = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(bare.map_or(text, |(_, token)| token.trim()).to_owned())
}

fn text(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| format!("{}: is not UTF-8 text", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(LONGEST + 1).read_to_end(&mut content)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content))
    };
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    if content.len() as u64 > LONGEST {
        return Err(format!("{}: is longer than 16 MiB", path.display()));
    }
    Ok(content)
}

fn organisation(text: &str) -> Result<Organisation, &'static str> {
    Organisation::parse(text).ok_or("is no UUID")
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    if let Ok(seconds) = text.parse() {
        return Ok(Timestamp(seconds));
    }
    let time: jiff::Timestamp =
        text.parse().map_err(|_| "is no time such as 2026-01-31T12:00:00Z")?;
    u64::try_from(time.as_second()).map(Timestamp).map_err(|_| "lies before 1970")
}
