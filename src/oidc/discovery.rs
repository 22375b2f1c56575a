//! What a provider says of itself (OpenID Connect Discovery 1.0; RFC 9207, section 3).

use openidconnect::{
    AdditionalProviderMetadata, AuthType, ClientId, ClientSecret, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, ProviderMetadata, RedirectUrl,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
        CoreGrantType, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType,
    },
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    Authentication, Error, Settings,
    transport::{Transport, discovery_word},
};

/// Reads metadata and keys.
pub(super) async fn discover(
    transport: &Transport,
    issuer: IssuerUrl,
    settings: &Settings,
) -> Result<Discovered, Error> {
    let http = transport.client();
    let metadata = Metadata::discover_async(issuer, &http)
        .await
        .map_err(|error| Error::Unavailable(discovery_word(&error)))?;
    let authorization = metadata.authorization_endpoint().url();
    if !transport.accepts(authorization.scheme()) {
        return Err(Error::Unavailable("its authorization endpoint is not https"));
    }
    let names_itself =
        metadata.additional_metadata().authorization_response_iss_parameter_supported;
    // A public client shows no secret, also when one is configured.
    let confidential = settings.authentication != Authentication::None;
    let secret = settings.client_secret.as_ref().filter(|_| confidential);
    let client = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(settings.client_id.clone()),
        secret.map(|secret| ClientSecret::new(secret.expose_secret().to_owned())),
    )
    .set_redirect_uri(RedirectUrl::from_url(settings.redirect_uri.clone()))
    .set_auth_type(match settings.authentication {
        Authentication::Basic => AuthType::BasicAuth,
        // Without a secret the body carries the client's id alone.
        Authentication::Post | Authentication::None => AuthType::RequestBody,
    });
    Ok(Discovered { client, names_itself, at: Instant::now() })
}

/// What a provider says of itself, ready to be used.
pub(super) struct Discovered {
    pub(super) client: Client,
    /// `authorization_response_iss_parameter_supported`.
    pub(super) names_itself: bool,
    pub(super) at: Instant,
}

pub(super) type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

type Metadata = ProviderMetadata<
    AlsoAdvertised,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What we read of the metadata beyond OpenID Connect Discovery.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AlsoAdvertised {
    /// RFC 9207, section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for AlsoAdvertised {}
