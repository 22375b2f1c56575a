//! What a provider says of itself (OpenID Connect Discovery 1.0; RFC 9207, section 3).

use openidconnect::{
    AdditionalProviderMetadata, AuthType, ClientId, ClientSecret, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, ProviderMetadata, RedirectUrl, StandardErrorResponse,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
        CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode,
        CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
        CoreSubjectIdentifierType, CoreTokenIntrospectionResponse,
    },
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::{
    Authentication, Error, Settings,
    response::{SessionClaims, TokenAnswer},
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
    let also = metadata.additional_metadata();
    let names_itself = also.authorization_response_iss_parameter_supported;
    // A logout must not be the reason why nobody can log in, so a bad address is as good as none.
    let end_session = also.end_session_endpoint.as_deref().and_then(|url| Url::parse(url).ok());
    let end_session = end_session.filter(|url| transport.accepts(url.scheme()));
    // A public client shows no secret, also when one is configured.
    let shown = matches!(settings.authentication, Authentication::Basic | Authentication::Post);
    let secret = settings.client_secret.as_ref().filter(|_| shown);
    let token_endpoint = metadata.token_endpoint().map(|endpoint| endpoint.url().clone());
    let client = Client::from_provider_metadata(
        metadata,
        ClientId::new(settings.client_id.clone()),
        secret.map(|secret| ClientSecret::new(secret.expose_secret().to_owned())),
    )
    .set_redirect_uri(RedirectUrl::from_url(settings.redirect_uri.clone()))
    .set_auth_type(match settings.authentication {
        Authentication::Basic => AuthType::BasicAuth,
        // Without a secret the body carries the client's id alone.
        Authentication::Post | Authentication::PrivateKeyJwt | Authentication::None => {
            AuthType::RequestBody
        }
    });
    let at = Instant::now();
    Ok(Discovered { client, token_endpoint, names_itself, end_session, at })
}

/// What a provider says of itself, ready to be used.
pub(super) struct Discovered {
    pub(super) client: Client,
    pub(super) token_endpoint: Option<Url>,
    /// `authorization_response_iss_parameter_supported`.
    pub(super) names_itself: bool,
    /// Where a logout goes on to (OpenID Connect RP-Initiated Logout 1.0, section 2.1).
    pub(super) end_session: Option<Url>,
    pub(super) at: Instant,
}

pub(super) type Client = openidconnect::Client<
    SessionClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
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
    /// OpenID Connect RP-Initiated Logout 1.0, section 2.1.
    #[serde(default)]
    end_session_endpoint: Option<String>,
}

impl AdditionalProviderMetadata for AlsoAdvertised {}
