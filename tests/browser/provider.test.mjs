// The provider by itself: what the gateway is promised by the tests that run both.

import assert from 'node:assert/strict';
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { launchBrowser, logIn } from './browser.mjs';
import { AUDIENCE, CLIENT_ID, startProvider } from './provider.mjs';

const RELYING_PARTY = 'relying party';
let browser, provider, relyingParty, callback;

before(async () => {
  relyingParty = createServer((_request, response) => response.end(RELYING_PARTY));
  relyingParty.listen(0, '127.0.0.1');
  await once(relyingParty, 'listening');
  callback = `http://localhost:${relyingParty.address().port}/callback`;
  provider = await startProvider({ redirectUris: [callback], accessTokenTtl: 77 });
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await provider?.close();
  relyingParty?.closeAllConnections();
  relyingParty?.close();
});

test('an access token is a JWT for the platform, signed with Ed25519, with roles', async () => {
  const metadata = await discover();
  const tokens = await obtain(metadata, 'alice');
  const { header, claims } = await verified(metadata, tokens.access_token);

  assert.equal(header.alg, 'EdDSA');
  assert.equal(claims.iss, provider.issuer);
  assert.equal(claims.aud, AUDIENCE);
  assert.equal(claims.sub, 'alice');
  assert.equal(claims.name, 'Alice Example');
  assert.deepEqual(claims.roles, ['organization_admin']);
  assert.equal(claims.exp - claims.iat, 77);
});

test('an ID token is signed with Ed25519 and carries the nonce', async () => {
  const metadata = await discover();
  const tokens = await obtain(metadata, 'bob');
  const { header, claims } = await verified(metadata, tokens.id_token);

  assert.equal(header.alg, 'EdDSA');
  assert.equal(claims.aud, CLIENT_ID);
  assert.equal(claims.nonce, tokens.nonce);
});

test('a refresh token brings another access token with the same roles', async () => {
  const metadata = await discover();
  const tokens = await obtain(metadata, 'bob');
  const renewed = await redeem(metadata, {
    grant_type: 'refresh_token',
    refresh_token: tokens.refresh_token,
  });

  assert.equal(renewed.status, 200);
  const { claims } = await verified(metadata, (await renewed.json()).access_token);
  assert.deepEqual(claims.roles, ['organization_reader']);
  assert.equal(claims.aud, AUDIENCE);
});

test('a request without PKCE is refused', async () => {
  const metadata = await discover();
  const request = new URLSearchParams({
    client_id: CLIENT_ID,
    response_type: 'code',
    redirect_uri: callback,
    scope: 'openid',
  });
  const answer = await fetch(`${metadata.authorization_endpoint}?${request}`, {
    redirect: 'manual',
  });
  assert.match(answer.headers.get('location'), /error=invalid_request/);
});

test('a wrong password is told so and brings no code', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto((await authorization(await discover())).url);
  await logIn(page, 'alice', 'bob');
  await page.getByText('Name and password do not match.').waitFor();
  assert.ok(page.url().startsWith(provider.issuer));
  await context.close();
});

async function discover() {
  const answer = await fetch(`${provider.issuer}/.well-known/openid-configuration`);
  return answer.json();
}

async function authorization(metadata) {
  const verifier = randomBytes(32).toString('base64url');
  const nonce = randomBytes(16).toString('base64url');
  const request = new URLSearchParams({
    client_id: CLIENT_ID,
    response_type: 'code',
    redirect_uri: callback,
    scope: 'openid profile offline_access',
    state: 'state',
    nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return { url: `${metadata.authorization_endpoint}?${request}`, verifier, nonce };
}

async function obtain(metadata, user) {
  const { url, verifier, nonce } = await authorization(metadata);
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(url);
  await logIn(page, user);
  await page.getByText(RELYING_PARTY).waitFor();
  const landed = new URL(page.url());
  await context.close();
  assert.equal(landed.searchParams.get('state'), 'state');

  const answer = await redeem(metadata, {
    grant_type: 'authorization_code',
    code: landed.searchParams.get('code'),
    redirect_uri: callback,
    code_verifier: verifier,
  });
  assert.equal(answer.status, 200);
  return { ...(await answer.json()), nonce };
}

function redeem(metadata, parameters) {
  const credential = Buffer.from(`${CLIENT_ID}:${provider.clientSecret}`).toString('base64');
  return fetch(metadata.token_endpoint, {
    method: 'POST',
    headers: { authorization: `Basic ${credential}` },
    body: new URLSearchParams(parameters),
  });
}

async function verified(metadata, token) {
  const { keys } = await (await fetch(metadata.jwks_uri)).json();
  const [head, body, signature] = token.split('.');
  const [header, claims] = [head, body].map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  const jwk = keys.find((key) => key.kid === header.kid);
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  const signed = verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url'));
  assert.ok(signed, 'the signature is by a published key');
  return { header, claims };
}
