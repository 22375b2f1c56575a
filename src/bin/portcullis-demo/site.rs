//! The demo's small world: who lives in it, and where everything listens.
//!
//! `conf/demo.yaml` says the same to the gateway; a test here holds the two together.

use std::time::Duration;

use tokio::{net::TcpListener, task::JoinSet};
use uuid::Uuid;

use crate::stand_in::{bff, core, iam, sts};

/// Where the gateway is reached.
pub(crate) const PUBLIC_URL: &str = "http://localhost:8080";
/// Where the gateway says whether it is ready.
pub(crate) const READY_URL: &str = "http://127.0.0.1:9090/readyz";
/// Ports that the gateway takes.
pub(crate) const GATEWAY_PORTS: [u16; 2] = [8080, 9090];
/// Where the IAM provider is reached.
pub(crate) const IAM_URL: &str = "http://127.0.0.1:8081";
/// Who a user of the provider is, for the platform.
const PLATFORM: &str = "procivis-one-platform";
const CORE_AUDIENCE: &str = "one-core";
const ACME: Uuid = Uuid::from_u128(0x6b1e_5f0a_2d2c_4c1c_9f0e_0d9f_5a5b_7a11);
const GLOBEX: Uuid = Uuid::from_u128(0xc2f7_a3de_51b4_4f7e_8a55_7d0f_3f0a_9b22);

/// Where those are that a stand-in has to know of.
#[derive(clap::Args)]
pub(crate) struct Neighbours {
    /// Origin of the gateway, which issues app tokens
    #[arg(long, value_name = "URL", default_value = PUBLIC_URL)]
    gateway_url: String,
    /// Issuer of IAM tokens
    #[arg(long, value_name = "URL", default_value = IAM_URL)]
    iam_url: String,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self { gateway_url: PUBLIC_URL.into(), iam_url: IAM_URL.into() }
    }
}

/// What differs from run to run.
pub(crate) struct Choices<'a> {
    /// The provider's secret for the gateway's client.
    pub(crate) client_secret: &'a str,
    /// Where the others are.
    pub(crate) neighbours: &'a Neighbours,
    /// How Core authenticates its callers.
    pub(crate) core_mode: core::Mode,
}

/// One stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Iam,
    Core,
    Bff,
    Sts,
}

impl Part {
    /// Where the demo has it.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Iam => 8081,
            Self::Core => 8082,
            Self::Bff => 8083,
            Self::Sts => 8084,
        }
    }

    /// Where it shows what it received; Core and the token service have such a port.
    pub(crate) const fn has_control(self) -> bool {
        matches!(self, Self::Core | Self::Sts)
    }

    /// What to call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Iam => "the IAM provider",
            Self::Core => "Core",
            Self::Bff => "BFF",
            Self::Sts => "the token service",
        }
    }

    /// Serves it until the set is dropped.
    pub(crate) fn spawn(
        self,
        tasks: &mut JoinSet<std::io::Result<()>>,
        listener: TcpListener,
        control: Option<TcpListener>,
        choices: Choices<'_>,
    ) -> std::io::Result<()> {
        let Choices { client_secret, neighbours, core_mode } = choices;
        match self {
            Self::Iam => {
                let issuer = format!("http://{}", listener.local_addr()?);
                tasks.spawn(iam::serve(
                    listener,
                    provider(issuer, &neighbours.gateway_url, client_secret),
                ));
            }
            Self::Core => {
                let recorder = core::Recorder::default();
                if let Some(control) = control {
                    tasks.spawn(core::serve_control(control, recorder.clone()));
                }
                tasks.spawn(core::serve(listener, one_core(core_mode, recorder)));
            }
            Self::Bff => {
                let settings = bff::Settings {
                    iam_issuer: neighbours.iam_url.clone(),
                    iam_audience: PLATFORM.into(),
                };
                tasks.spawn(bff::serve(listener, settings));
            }
            Self::Sts => {
                let issuer = format!("http://{}", listener.local_addr()?);
                let handle = sts::Handle::default();
                if let Some(control) = control {
                    tasks.spawn(sts::serve_control(control, handle.clone()));
                }
                tasks.spawn(sts::serve(
                    listener,
                    token_service(issuer, &neighbours.iam_url, handle),
                ));
            }
        }
        Ok(())
    }
}

fn provider(issuer: String, gateway_url: &str, secret: &str) -> iam::Settings {
    let user = |name: &str, full_name: &str, role: &str| iam::User {
        name: name.into(),
        password: name.into(),
        full_name: full_name.into(),
        roles: vec![role.into()],
    };
    let desk = iam::Client {
        id: "desk".into(),
        secret: secret.into(),
        redirects: vec![format!("{gateway_url}/.portcullis/callback")],
        after_logout: vec![gateway_url.into(), format!("{gateway_url}/")],
        roles: None,
    };
    let program = iam::Client {
        id: "api-client".into(),
        secret: "api-client".into(),
        redirects: Vec::new(),
        after_logout: Vec::new(),
        roles: Some(vec!["organization_reader".into()]),
    };
    iam::Settings {
        issuer,
        audience: PLATFORM.into(),
        lifetime: Duration::from_secs(300),
        clients: vec![desk, program],
        users: vec![
            user("alice", "Alice Example", "organization_admin"),
            user("bob", "Bob Example", "organization_reader"),
        ],
    }
}

/// Core as the demo has it: it takes the gateway's app tokens.
pub(crate) fn one_core_mode(neighbours: &Neighbours) -> core::Mode {
    let issuer = neighbours.gateway_url.clone();
    core::Mode::Sts {
        jwks: format!("{issuer}/.well-known/jwks.json"),
        issuer,
        audience: CORE_AUDIENCE.into(),
        ttl: Duration::from_secs(600),
        leeway: Duration::from_secs(60),
    }
}

fn one_core(mode: core::Mode, recorder: core::Recorder) -> core::Settings {
    let organisations = vec![(ACME, "Acme".into()), (GLOBEX, "Globex".into())];
    core::Settings { mode, organisations, recorder }
}

fn token_service(issuer: String, iam_url: &str, handle: sts::Handle) -> sts::Settings {
    let read = ["CREDENTIAL_LIST", "CREDENTIAL_DETAIL", "CREDENTIAL_SCHEMA_LIST", "HISTORY_LIST"];
    let issue = ["CREDENTIAL_ISSUE", "CREDENTIAL_SHARE", "CREDENTIAL_REVOKE"];
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    sts::Settings {
        issuer,
        audiences: vec![CORE_AUDIENCE.into()],
        lifetime: Duration::from_secs(300),
        iam_issuer: iam_url.into(),
        iam_audience: PLATFORM.into(),
        roles: vec![
            ("organization_admin".into(), [names(&read), names(&issue)].concat()),
            ("organization_reader".into(), names(&read)),
        ],
        client: None,
        handle,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_gateway_is_told_the_same() {
        let text = include_str!("../../../conf/demo.yaml");
        let config: Value = serde_yaml::from_str(text).unwrap();
        let at = |pointer: &str| config.pointer(pointer).unwrap().as_str().unwrap();
        let loopback = |part: Part| format!("127.0.0.1:{}", part.port());
        assert_eq!(at("/public_url"), PUBLIC_URL);
        assert_eq!(at("/sts/issuer/iss"), PUBLIC_URL);
        assert_eq!(at("/iam/issuer"), IAM_URL);
        assert_eq!(IAM_URL, format!("http://{}", loopback(Part::Iam)));
        assert_eq!(at("/iam/audience"), PLATFORM);
        assert_eq!(at("/iam/client/id"), provider(String::new(), PUBLIC_URL, "").clients[0].id);
        assert_eq!(at("/upstreams/core/auth/audience"), CORE_AUDIENCE);
        assert_eq!(at("/upstreams/core/servers/0"), loopback(Part::Core));
        assert_eq!(at("/upstreams/bff/servers/0"), loopback(Part::Bff));
        assert_eq!(at(&format!("/organisations/{ACME}/name")), "Acme");
        assert_eq!(at(&format!("/organisations/{GLOBEX}/name")), "Globex");
        let listeners = [at("/listeners/0/address"), at("/admin/address")];
        assert_eq!(listeners, GATEWAY_PORTS.map(|port| format!("127.0.0.1:{port}")));
        assert!(READY_URL.starts_with(&format!("http://{}/", at("/admin/address"))));
        for (role, user) in [("organization_admin", "alice"), ("organization_reader", "bob")] {
            assert!(config["iam_roles"].get(role).is_some());
            let users = provider(String::new(), PUBLIC_URL, "").users;
            let user = users.into_iter().find(|one| one.name == user).unwrap();
            assert_eq!(user.roles, [role]);
        }
    }
    #[test]
    fn the_gateway_accepts_its_configuration() {
        let secrets = crate::secrets::Secrets::generate().unwrap();
        let variable = |name: &str| {
            let environment = secrets.environment();
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
        };
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/demo.yaml"));
        let text = include_str!("../../../conf/demo.yaml");
        let loaded = portcullis::config::parse(text, path, &variable);
        let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
        let own = text.matches("  - path: ").count();
        assert_eq!(loaded.config.routes.len(), own + 110, "Core's operations with permissions");
    }
}
