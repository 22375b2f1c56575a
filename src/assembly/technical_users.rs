//! Identities that the gateway holds at the IAM provider.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use reqwest::Client;

use super::Defects;
use crate::{
    certificate::CertificateName,
    config::Config,
    sessions::VerifyIam,
    technical_user::{Settings, TechnicalUser},
};

/// By name; `http` is what the provider is spoken to with.
pub(super) fn assemble(
    config: &Config,
    http: Option<&Client>,
    verify: &VerifyIam,
    defects: &mut Defects,
) -> BTreeMap<String, Arc<TechnicalUser>> {
    let (Some(iam), Some(http)) = (&config.iam, http) else { return BTreeMap::new() };
    let user = |(name, written): (&String, &crate::config::TechnicalUser)| {
        let key_path = format!("technical_users.{name}.client");
        let settings = Settings {
            name: name.as_str().into(),
            issuer: iam.issuer.as_str().to_owned(),
            client: super::oauth_client(&written.client, &key_path, defects)?,
            scopes: written.scopes.clone(),
            resource: written.resource.clone(),
            organisation: written.organisation,
            verify: Arc::clone(verify),
        };
        Some((name.clone(), Arc::new(TechnicalUser::new(settings, http.clone()))))
    };
    config.technical_users.iter().filter_map(user).collect()
}

/// By the names in their certificates, of which the configuration's own checks have seen to it
/// that none is two users'.
pub(super) fn by_certificate(
    config: &Config,
    users: &BTreeMap<String, Arc<TechnicalUser>>,
) -> HashMap<CertificateName, Arc<TechnicalUser>> {
    let named = config.technical_users.iter().flat_map(|(name, written)| {
        let user = users.get(name);
        written.certificates.iter().filter_map(move |it| Some((it.clone(), Arc::clone(user?))))
    });
    named.collect()
}
