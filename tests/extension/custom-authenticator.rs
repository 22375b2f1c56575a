//! API keys beside everything that `gateway.yaml` has, and audit records in a file of one's own:
//! `API_KEYS=KEY:SUBJECT:ROLE,… AUDIT_FILE=PATH custom-authenticator run --config FILE`.

use std::{collections::HashMap, env, fs::File, io, io::Write as _, process::ExitCode};

use aws_lc_rs::digest::{SHA256, digest};
use portcullis::extension::{
    AuditRecord, AuditSink, Authenticate, Authentication, Error, Portcullis, Request, async_trait,
};

/// Who has which key. By their hashes, so that it takes as long to miss one narrowly as widely.
struct ApiKeys(HashMap<Vec<u8>, (String, String)>);

fn hash(key: &str) -> Vec<u8> {
    digest(&SHA256, key.as_bytes()).as_ref().to_vec()
}

#[async_trait]
impl Authenticate for ApiKeys {
    fn credential_headers(&self) -> Vec<String> {
        vec!["x-api-key".to_owned()]
    }

    async fn authenticate(&self, request: &Request<'_>) -> Result<Authentication, Error> {
        let Some(key) = request.header("x-api-key")? else {
            return Ok(Authentication::NotPresented);
        };
        Ok(match self.0.get(&hash(key)) {
            Some((subject, role)) => Authentication::subject(subject).role(role).into(),
            None => Authentication::failed("nobody has this API key"),
        })
    }
}

/// Records that are on the disk before a request that waits for its own goes on.
struct Kept(File);

impl AuditSink for Kept {
    fn write(&mut self, records: &[AuditRecord<'_>]) -> io::Result<()> {
        let lines: String = records.iter().map(|record| record.json().to_owned() + "\n").collect();
        self.0.write_all(lines.as_bytes())?;
        self.0.sync_data()
    }
}

fn main() -> ExitCode {
    let keys = env::var("API_KEYS").unwrap_or_default();
    let entries = keys.split(',').map(|entry| entry.splitn(3, ':').collect::<Vec<_>>());
    let keys = entries.filter_map(|entry| match *entry {
        [key, subject, role] => Some((hash(key), (subject.to_owned(), role.to_owned()))),
        _ => None,
    });
    let program = Portcullis::new().authenticator("api-key", ApiKeys(keys.collect()));
    match File::options().create(true).append(true).open(env::var("AUDIT_FILE").unwrap_or_default())
    {
        Ok(file) => program.audit_sink(Kept(file)).main(),
        Err(_) => ExitCode::FAILURE,
    }
}
