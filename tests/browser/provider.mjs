// A certified OpenID provider, `oidc-provider`, set up as the gateway's users set up theirs: every
// token signed with Ed25519, access tokens as JWTs for the platform's audience, IAM roles as a flat
// array beside the other claims, PKCE demanded.
//
// Started by itself it prints its issuer and answers until it is ended:
//
//   PORT=8085 REDIRECT_URIS=http://localhost:8080/.portcullis/callback node provider.mjs

import { generateKeyPairSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Provider } from 'oidc-provider';

export const AUDIENCE = 'procivis-one-platform';

/** The gateway's own client. Its secret is drawn anew for every provider that is started. */
export const CLIENT_ID = 'desk';

/** A person's password is their name. */
export const USERS = {
  alice: { name: 'Alice Example', roles: ['organization_admin'] },
  bob: { name: 'Bob Example', roles: ['organization_reader'] },
  // With as many roles as a large organisation gives: an access token of 7 KB.
  carol: {
    name: 'Carol Example',
    roles: ['organization_admin', ...Array.from({ length: 150 }, (_, at) => `department-${at}-of-the-organisation`)],
  },
};

// oidc-provider wants an absolute URI here; what stands in `aud` is AUDIENCE.
const RESOURCE = `urn:${AUDIENCE}`;
const MAX_FORM_BYTES = 4096;

/**
 * Starts a provider on 127.0.0.1.
 *
 * @param {object} options
 * @param {number} [options.port] 0 for a free one
 * @param {string[]} options.redirectUris where the client may be sent back to
 * @param {string[]} [options.postLogoutRedirectUris]
 * @param {string} [options.backchannelLogoutUri] where the client is told of ended sessions
 * @param {number} [options.tokenLatencyMs] that every answer of the token endpoint is late by
 * @param {number} [options.accessTokenTtl] seconds
 * @param {number} [options.refreshTokenTtl] seconds
 * @param {number} [options.sessionTtl] seconds that the provider remembers who logged in
 * @returns {Promise<{issuer: string, clientSecret: string, logins: string[],
 *   refreshes: {used: number, revoked: number}, slow: (ms: number) => void,
 *   close: () => Promise<void>}>}
 *   `logins` names each account that has filled in the form, in order. `refreshes` counts refresh
 *   tokens that were used, and grants that were revoked because one was used twice.
 */
export async function startProvider({
  port = 0,
  redirectUris,
  postLogoutRedirectUris = [],
  backchannelLogoutUri,
  tokenLatencyMs = 0,
  accessTokenTtl = 300,
  refreshTokenTtl = 3600,
  sessionTtl = 3600,
}) {
  // The issuer's name holds the port, so the port comes first.
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');

  const issuer = `http://127.0.0.1:${server.address().port}`;
  const clientSecret = randomBytes(32).toString('base64url');
  const provider = new Provider(issuer, {
    jwks: { keys: [signingKey()] },
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: clientSecret,
        token_endpoint_auth_method: 'client_secret_basic',
        redirect_uris: redirectUris,
        post_logout_redirect_uris: postLogoutRedirectUris,
        ...(backchannelLogoutUri && {
          backchannel_logout_uri: backchannelLogoutUri,
          backchannel_logout_session_required: true,
        }),
        response_types: ['code'],
        grant_types: ['authorization_code', 'refresh_token'],
        id_token_signed_response_alg: 'EdDSA',
      },
    ],
    pkce: { required: () => true },
    scopes: ['openid', 'profile', 'offline_access'],
    claims: { openid: ['sub'], profile: ['name'] },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: true, logoutSource: logoutPage },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: '',
          accessTokenFormat: 'jwt',
          accessTokenTTL: accessTokenTtl,
          jwt: { sign: { alg: 'EdDSA' } },
        }),
      },
    },
    extraTokenClaims: (_ctx, token) => USERS[token.accountId],
    findAccount: (_ctx, id) => account(id),
    loadExistingGrant: grantWithoutAsking,
    // The client is the organisation's own, so a refresh token needs no consent prompt.
    issueRefreshToken: () => true,
    // The default one refuses loopback.
    fetch: (url, options) => {
      delete options.dispatcher;
      return fetch(url, options);
    },
    // Good for one use; a second one revokes the grant.
    rotateRefreshToken: true,
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    ttl: {
      Session: sessionTtl,
      Grant: sessionTtl,
      Interaction: 600,
      IdToken: accessTokenTtl,
      RefreshToken: refreshTokenTtl,
    },
  });
  provider.on('server_error', (_ctx, error) => console.error('provider:', error));

  const refreshes = { used: 0, revoked: 0 };
  provider.on('refresh_token.consumed', () => { refreshes.used += 1; });
  provider.on('grant.revoked', () => { refreshes.revoked += 1; });
  provider.on('backchannel.error', (_ctx, error) => console.error('provider:', error));
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/token') await delay(tokenLatencyMs);
  });

  const logins = [];
  const protocol = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url.startsWith('/interaction/')) return protocol(request, response);
    return interact(provider, logins, request, response).catch((error) => {
      // An interaction that is over, or of another browser.
      if (!response.headersSent) page(response, 400, 'This login is over', String(error.message));
    });
  });

  return {
    issuer,
    clientSecret,
    logins,
    refreshes,
    /** How late the token endpoint answers from now on. */
    slow(ms) { tokenLatencyMs = ms; },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('ed25519');
  return {
    ...privateKey.export({ format: 'jwk' }),
    kid: randomBytes(8).toString('hex'),
    alg: 'EdDSA',
    use: 'sig',
  };
}

function account(id) {
  const user = Object.hasOwn(USERS, id) ? USERS[id] : undefined;
  return user && { accountId: id, claims: () => ({ sub: id, name: user.name }) };
}

async function grantWithoutAsking(ctx) {
  const { provider, client, session, params } = ctx.oidc;
  const grantId = session.grantIdFor(client.clientId);
  const known = grantId && (await provider.Grant.find(grantId));
  if (known) return known;

  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  grant.addResourceScope(RESOURCE, '');
  await grant.save();
  return grant;
}

async function interact(provider, logins, request, response) {
  const { uid, prompt, params } = await provider.interactionDetails(request, response);
  if (prompt.name !== 'login') throw new Error(`no page for the prompt ${prompt.name}`);
  if (request.method === 'GET') return form(response, 200, uid, params.login_hint);

  const { user = '', password = '' } = await submitted(request);
  if (!account(user) || !equal(user, password)) {
    return form(response, 401, uid, user, 'Name and password do not match.');
  }
  logins.push(user);
  const result = { login: { accountId: user } };
  return provider.interactionFinished(request, response, result, {
    mergeWithLastSubmission: false,
  });
}

/** Asks before it ends the provider's session; the form's own buttons submit it. */
function logoutPage(ctx, form) {
  ctx.body = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Log out</title>
    <h1>Log out here too?</h1>${form}
    <button form="op.logoutForm" type="submit" name="logout" value="yes">Yes</button></html>`;
}

async function submitted(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > MAX_FORM_BYTES) throw new Error('the form is too large');
    parts.push(part);
  }
  return Object.fromEntries(new URLSearchParams(Buffer.concat(parts).toString()));
}

function equal(expected, given) {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function form(response, status, uid, user, problem = '') {
  const fields = `
    <form method="post" action="/interaction/${encodeURIComponent(uid)}">
      <label>Name <input name="user" value="${escape(user ?? '')}" autofocus required></label>
      <label>Password <input name="password" type="password" required></label>
      <button type="submit">Log in</button>
    </form>`;
  page(response, status, 'Log in', problem, fields);
}

function page(response, status, title, text, markup = '') {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escape(title)}</title>
    <h1>${escape(title)}</h1><p role="status">${escape(text)}</p>${markup}</html>`,
  );
}

function escape(text) {
  const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { issuer, clientSecret } = await startProvider({
    port: Number(process.env.PORT ?? 0),
    redirectUris: (process.env.REDIRECT_URIS ?? '').split(' ').filter(Boolean),
    accessTokenTtl: Number(process.env.ACCESS_TOKEN_TTL ?? 300),
    refreshTokenTtl: Number(process.env.REFRESH_TOKEN_TTL ?? 3600),
    sessionTtl: Number(process.env.SESSION_TTL ?? 3600),
  });
  console.log(JSON.stringify({ issuer, client_id: CLIENT_ID, client_secret: clientSecret }));
}
