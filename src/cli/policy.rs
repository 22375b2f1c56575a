//! `portcullis policy`: routes and an upstream's OpenAPI document, one made from the other or
//! compared with it.

mod cases;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use url::Url;

use super::{ConfigFile, EX_CONFIG, complain, print, run};
use crate::{
    assembly,
    config::{self, Config, Loaded, UpstreamAuth},
    extension::Extensions,
    http_client,
    policy::{
        import::{self, Document, LONGEST_DOCUMENT},
        routes_file,
    },
    watch,
};

/// Time in which a running upstream has to hand out its document.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Make a file of routes from an OpenAPI document.
    ///
    /// Prints the file on standard output; name it under `include` in the configuration. Every
    /// operation becomes a route that demands one of its `x-permissions`; without them a caller who
    /// is known, and on protocol endpoints (/ssi, /.well-known, /health) nobody. An organisation
    /// that a request names in path, query or body is checked. /api-docs, /metrics, /swagger-ui
    /// and /vc-api are left out.
    ///
    /// The same document gives the same bytes. Changes of your own belong into a file under
    /// `overlay`, which wins over the imported one.
    ///
    /// For example: portcullis policy import core-openapi.json > core-routes.yaml
    Import {
        #[command(flatten)]
        document: Source,
        /// Name of the upstream to which the routes lead.
        #[arg(long, value_name = "NAME", default_value = "core")]
        upstream: String,
        /// For an upstream that checks nothing (auth mode UNSAFE_NONE or UNSAFE_STATIC): each route
        /// keeps to one organisation, by what its requests name or by looking up whose that is.
        /// Operations that cannot be kept to one are left out and listed.
        #[arg(long)]
        perimeter: bool,
        /// Print a table of the operations and how each is kept to one organisation, in Markdown.
        #[arg(long, requires = "perimeter")]
        table: bool,
    },
    /// Compare the routes of a configuration with an OpenAPI document.
    ///
    /// Prints one line for each operation that no route leads to, each rule that no operation has,
    /// and each rule whose access or permissions differ, with method, path and the place of the
    /// rule. Routes to other upstreams count only where they stand before those compared.
    ///
    /// Prints nothing and exits with 0 when both agree; exits with 1 when they differ, or the
    /// document cannot be read, and with 78 when the configuration has faults.
    Diff {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        document: Source,
        /// Name of the upstream that the document is of. Default: the only one that takes app
        /// tokens or checks nothing (auth mode STS, UNSAFE_NONE or UNSAFE_STATIC).
        #[arg(long, value_name = "NAME")]
        upstream: Option<String>,
    },
    /// Hold what the configuration decides against what is expected.
    ///
    /// Cases are requests in YAML, each with a caller and the decision that is expected; the code
    /// that serves decides them, and nothing is sent. conf/demo-cases.yaml shows every key.
    ///
    /// Prints each case that failed with what was expected, what it got and the way to it, then
    /// how many there were, and which routes and permissions no case touches. A permission is
    /// touched when a case is forwarded with it, or refused for the lack of it.
    ///
    /// Exits with 0 when all passed, with 1 when one failed, and with 78 when the configuration or
    /// a file of cases has faults.
    Test(cases::Test),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// The OpenAPI document, JSON or YAML; `-` reads it from standard input.
    #[arg(value_name = "OPENAPI")]
    file: Option<PathBuf>,
    /// Read it from a running upstream, such as http://127.0.0.1:3000/api-docs/openapi.json.
    ///
    /// At most 4 MiB in 20 seconds, no redirects. Plain http only from this machine (localhost,
    /// 127.0.0.0/8, ::1): who can change the document on its way writes the rules. From elsewhere
    /// use https, or fetch the document by a way that you trust and give the file.
    #[arg(long, value_name = "URL")]
    from: Option<Url>,
}

pub(super) fn policy(command: &Policy, extensions: &Arc<Extensions>) -> u8 {
    match command {
        Policy::Import { document: source, upstream, perimeter, table } => match source.read() {
            Ok(document) if *table => print(&import::perimeter::table(&document)),
            Ok(document) if *perimeter => {
                print(&routes_file::render_perimeter(&document, upstream, &source.name()))
            }
            Ok(document) => print(&routes_file::render(&document, upstream, &source.name())),
            Err(message) => complain(&message, 1),
        },
        Policy::Test(command) => cases::test(command, extensions),
        Policy::Diff { config, document, upstream } => {
            let loaded = match config::load(&config.config) {
                Ok(loaded) => loaded,
                Err(faults) => return complain(&faults, EX_CONFIG),
            };
            match differences(&loaded, document, upstream.as_deref()) {
                Ok(lines) if lines.is_empty() => 0,
                Ok(lines) => print(&lines).max(1),
                Err(message) => complain(&message, 1),
            }
        }
    }
}

fn differences(loaded: &Loaded, source: &Source, name: Option<&str>) -> Result<String, String> {
    let config = &loaded.config;
    let upstream = match name {
        Some(name) if config.upstreams.contains_key(name) => name,
        Some(name) => return Err(format!("--upstream: the configuration has no {name:?}")),
        None => only_core(config)?,
    };
    let compared = assembly::compared(loaded, upstream);
    let found = compared.with(&source.read()?).map_err(|error| error.to_string())?;
    Ok(found.iter().map(|difference| difference.to_string() + "\n").collect())
}

/// The only upstream that asks for what Core asks for.
fn only_core(config: &Config) -> Result<&str, String> {
    let mut found = config.upstreams.iter().filter(|(_, upstream)| {
        matches!(
            upstream.auth,
            UpstreamAuth::Sts { .. } | UpstreamAuth::UnsafeNone | UpstreamAuth::UnsafeStatic { .. }
        )
    });
    match (found.next(), found.next()) {
        (Some((name, _)), None) => Ok(name),
        (None, _) => Err("no upstream looks like Core; name it with --upstream".into()),
        (Some((one, _)), Some((other, _))) => {
            Err(format!("{one} and {other} may both be Core; name it with --upstream"))
        }
    }
}

impl Source {
    fn read(&self) -> Result<Document, String> {
        let document = match (&self.file, &self.from) {
            (_, Some(url)) => fetch(url),
            (Some(file), None) if file.as_os_str() == "-" => parsed(bounded(io::stdin().lock())),
            (Some(file), None) => parsed(
                std::fs::File::open(file).map_err(|error| error.to_string()).and_then(bounded),
            ),
            (None, None) => Err("no document is named".into()),
        };
        document.map_err(|message| format!("{}: {message}", self.name()))
    }

    /// For a message or comment: what a directory is called is of no use to others.
    fn name(&self) -> String {
        match (&self.file, &self.from) {
            (_, Some(url)) => without_password(url),
            (Some(file), None) => {
                Path::new(file).file_name().unwrap_or(file.as_os_str()).display().to_string()
            }
            (None, None) => String::new(),
        }
    }
}

fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    // What cannot have a user has none.
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    format!("--from {url}")
}

fn parsed(content: Result<Vec<u8>, String>) -> Result<Document, String> {
    let text = String::from_utf8(content?).map_err(|_| "is not UTF-8 text".to_owned())?;
    import::read(&text).map_err(|error| error.to_string())
}

fn bounded(source: impl io::Read) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let limit = u64::try_from(LONGEST_DOCUMENT).unwrap_or(u64::MAX).saturating_add(1);
    source.take(limit).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() > LONGEST_DOCUMENT {
        return Err("is longer than 4 MiB".into());
    }
    Ok(content)
}

fn fetch(url: &Url) -> Result<Document, String> {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => {}
        "http" if config::types::is_loopback(host) => {}
        "http" => return Err("plain http is read from this machine only; use https".into()),
        _ => return Err("is neither http nor https".into()),
    }
    run::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let client = http_client::build(None, TIMEOUT).map_err(|error| error.to_string())?;
        let read = watch::read(&client, url.clone(), LONGEST_DOCUMENT).await;
        read.map_err(|error| error.to_string())
    })
}
