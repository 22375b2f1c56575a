// What a person meets: a browser, a login, Desk and Core behind the gateway, and the end of it.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { launchBrowser, logIn } from './browser.mjs';
import { ACME, COOKIE, PREFIX, startSite } from './gateway.mjs';

const DEEP_LINK = '/?view=credentials&search=Acme%20%26%20Co';
const CREDENTIALS = `/api/credential/v1?page=0&pageSize=10&organisationId=${ACME}`;

let browser, site, context;

before(async () => {
  browser = await launchBrowser();
});

after(() => browser?.close());

// A context is one person's browser: cookies are shared by its tabs and by nobody else.
beforeEach(async () => {
  context = await browser.newContext();
});

afterEach(() => context?.close());

describe('with a session that lasts', () => {
  before(async () => {
    site = await startSite();
  });
  after(() => site?.close());
  beforeEach(() => site.core.forget());

  test('a login leads to the page first asked for', async () => {
    const page = await context.newPage();
    await page.goto(site.publicUrl + DEEP_LINK);
    assert.ok(page.url().startsWith(site.provider.issuer), 'the provider asks who it is');

    await logIn(page, 'alice');
    await page.waitForURL(site.publicUrl + DEEP_LINK);
    await page.getByText('Alice Example').waitFor();
  });

  test('a login asks with PKCE, state and nonce, and for the code flow', async () => {
    const page = await context.newPage();
    const asked = page.waitForRequest((request) => asksProvider(request.url()));
    await page.goto(site.publicUrl);
    const parameters = new URL((await asked).url()).searchParams;

    assert.equal(parameters.get('response_type'), 'code');
    assert.equal(parameters.get('code_challenge_method'), 'S256');
    assert.match(parameters.get('code_challenge'), /^[\w-]{43}$/);
    assert.equal(parameters.get('redirect_uri'), `${site.publicUrl}${PREFIX}/callback`);
    for (const name of ['state', 'nonce']) assert.ok(parameters.get(name).length >= 22, name);
  });

  test('a page calls Core, which sees an app token and nothing of the session', async () => {
    const page = await loggedIn('alice');
    // Another application's cookie on this host is none of the gateway's business.
    await context.addCookies([{ name: 'theme', value: 'dark', url: site.publicUrl }]);
    await site.core.forget();
    const answer = await call(page, CREDENTIALS);
    assert.equal(answer.status, 200, answer.text);

    const [received, ...more] = await site.core.requests();
    assert.deepEqual(more, [], 'one call is one request');
    assert.equal(received.method, 'GET');
    assert.equal(received.target, CREDENTIALS);
    assert.deepEqual(values(received, 'cookie'), ['theme=dark']);

    const [authorization, ...others] = values(received, 'authorization');
    assert.deepEqual(others, []);
    const { header, claims } = decoded(authorization);
    assert.equal(header.alg, 'EdDSA');
    assert.equal(claims.iss, site.publicUrl, 'the gateway issued it, not the provider');
    assert.equal([claims.aud].flat().join(), 'one-core');
    assert.equal(claims.sub, 'alice');
    assert.equal(claims.organisationId, ACME);
    assert.deepEqual(claims.permissions, ['CREDENTIAL_LIST']);
  });

  test('a page can neither read the session cookie nor its tokens', async () => {
    const page = await loggedIn('alice');
    assert.equal(await page.evaluate('document.cookie'), '');

    const cookies = await ours();
    assert.ok(cookies.length > 0);
    for (const cookie of cookies) {
      // Without TLS there is no `__Host-`, which browsers keep for secure origins.
      assert.match(cookie.name, new RegExp(`^${COOKIE}(\\W|_|$)`));
      assert.equal(cookie.httpOnly, true);
      assert.equal(cookie.sameSite, 'Lax');
      assert.equal(cookie.path, '/');
      assert.equal(cookie.domain, 'localhost', 'for this host alone');
      assert.equal(cookie.secure, false, 'the site is plain HTTP on loopback');
      // A token begins so and goes on with two dots; what is sealed may have these letters by chance.
      assert.doesNotMatch(cookie.value, /eyJ[\w-]{10,}\.[\w-]{10,}\./, 'no token can be read in it');
    }
    const told = await call(page, `${PREFIX}/session`);
    assert.equal(told.status, 200);
    assert.equal(JSON.parse(told.text).subject, 'alice');
    assert.doesNotMatch(told.text, /eyJ/);
  });

  test('a login cookie is gone once its login is complete', async () => {
    const page = await context.newPage();
    await page.goto(site.publicUrl);
    const during = await ours();
    assert.equal(during.length, 1, 'one login is under way');
    await logIn(page, 'alice');
    await page.getByText('Alice Example').waitFor();

    const left = (await ours()).map((cookie) => cookie.name);
    assert.ok(!left.includes(during[0].name), `${during[0].name} is not among ${left}`);
  });

  test('a second tab is logged in already', async () => {
    await loggedIn('alice');
    const before = site.provider.logins.length;
    const second = await context.newPage();
    const asked = watch(second);
    await second.goto(`${site.publicUrl}/?tab=2`);

    await second.getByText('Alice Example').waitFor();
    assert.equal(second.url(), `${site.publicUrl}/?tab=2`);
    assert.deepEqual(asked, [], 'the provider was not asked');
    assert.equal(site.provider.logins.length, before);
  });

  test('two tabs that log in at the same time each end on their own page', async () => {
    const [first, second] = [await context.newPage(), await context.newPage()];
    await first.goto(`${site.publicUrl}/?tab=first`);
    await second.goto(`${site.publicUrl}/?tab=second`);
    for (const page of [first, second]) {
      assert.ok(page.url().startsWith(site.provider.issuer), 'both stand at the form');
    }

    // The one that began last ends first, so neither can live on what the other left behind.
    await logIn(second, 'alice');
    await second.waitForURL(`${site.publicUrl}/?tab=second`);
    await logIn(first, 'alice');
    await first.waitForURL(`${site.publicUrl}/?tab=first`);
    for (const page of [first, second]) {
      assert.equal((await call(page, '/api/config/v1')).status, 200);
    }
  });

  test('ten logins in ten tabs at once each end on their own page', async () => {
    const tabs = await Promise.all(Array.from({ length: 10 }, () => context.newPage()));
    await Promise.all(tabs.map((tab, at) => tab.goto(`${site.publicUrl}/?tab=${at}`)));
    for (const tab of tabs) assert.ok(tab.url().startsWith(site.provider.issuer), 'all stand at the form');
    await Promise.all(tabs.map((tab) => logIn(tab, 'alice')));
    await Promise.all(tabs.map((tab, at) => tab.waitForURL(`${site.publicUrl}/?tab=${at}`)));
    for (const tab of tabs) assert.equal((await call(tab, '/api/config/v1')).status, 200);
    const left = (await ours()).filter((cookie) => cookie.name.includes('-login'));
    assert.deepEqual(left, [], 'no login is left under way');
  });

  test('a session with 8 KB of tokens works', async () => {
    const page = await loggedIn('carol');
    const cookies = await ours();
    const bytes = cookies.reduce((sum, cookie) => sum + cookie.value.length, 0);
    assert.ok(bytes > 8 * 1024, `${bytes} bytes in ${cookies.length} cookies`);
    for (const cookie of cookies) assert.ok(cookie.value.length <= 4000, 'within what browsers keep');
    assert.equal((await call(page, CREDENTIALS)).status, 200);
    await page.reload();
    await page.getByText('Carol Example').waitFor();
  });

  test('a call that needs more than bob has is refused before Core', async () => {
    const page = await loggedIn('bob');
    assert.equal((await call(page, CREDENTIALS)).status, 200, 'he may read');
    await site.core.forget();

    const answer = await call(page, '/api/credential/v1', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    assert.equal(answer.status, 403);
    assert.equal(JSON.parse(answer.text).reason, 'permission_missing');
    assert.deepEqual(await site.core.requests(), [], 'Core has seen nothing');
  });

  test('a call without a session is refused, not sent to log in', async () => {
    const answer = await fetch(site.publicUrl + CREDENTIALS, { redirect: 'manual' });
    assert.equal(answer.status, 401);
    assert.equal((await answer.json()).reason, 'credential_missing');
    assert.deepEqual(await site.core.requests(), []);
  });

  test('a callback that this browser did not begin is refused', async () => {
    const page = await context.newPage();
    const answer = await page.goto(`${site.publicUrl}${PREFIX}/callback?code=a&state=b`);
    assert.equal(answer.status(), 400);
    await page.getByText('invalid_callback').waitFor();
    assert.deepEqual(await ours(), []);
  });

  test('a logout ends the session in every tab', async () => {
    const page = await loggedIn('alice');
    const second = await context.newPage();
    await second.goto(`${site.publicUrl}${PREFIX}/logout`);
    const ended = second.waitForResponse(
      (response) => response.url().endsWith(`${PREFIX}/logout`) && response.request().method() === 'POST',
    );
    await second.getByRole('button', { name: 'Log out' }).click();
    assert.equal((await ended).status(), 303);
    await eventually(async () => !(await call(page, `${PREFIX}/session`)).ok);

    const answer = await call(page, CREDENTIALS);
    assert.equal(answer.status, 401);
    assert.equal(JSON.parse(answer.text).reason, 'credential_missing');
  });

  test('a logout leaves no session cookie', async () => {
    const page = await loggedIn('alice');
    const answer = await call(page, `${PREFIX}/logout`, { method: 'POST', redirect: 'manual' });
    assert.equal(answer.type, 'opaqueredirect', 'it leads on to the page after a logout');
    assert.deepEqual(await ours(), []);
  });

  test('another site cannot log a person out', async () => {
    const page = await loggedIn('alice');
    const other = await context.newPage();
    // 127.0.0.1 and localhost are two sites to a browser.
    await other.goto(`${site.provider.issuer}/.well-known/openid-configuration`);
    const posted = other.waitForResponse((response) => response.url().endsWith('/logout'));
    await other.evaluate((action) => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action });
      document.body.append(form);
      form.submit();
    }, `${site.publicUrl}${PREFIX}/logout`);
    assert.equal((await posted).status(), 403);
    await other.getByText('origin_mismatch').waitFor();
    assert.equal((await call(page, CREDENTIALS)).status, 200, 'the session goes on');
  });
});

describe('with a session that soon ends', () => {
  before(async () => {
    site = await startSite({ idleTimeout: '3s' });
  });
  after(() => site?.close());

  test('an idle session ends: calls are told so, a navigation goes to the provider', async () => {
    const page = await loggedIn('alice');
    assert.equal((await call(page, CREDENTIALS)).status, 200);

    // Asking about the session is no activity, so it may be watched to its end.
    await eventually(async () => !(await call(page, `${PREFIX}/session`)).ok);
    const answer = await call(page, CREDENTIALS);
    assert.equal(answer.status, 401);
    assert.equal(JSON.parse(answer.text).reason, 'session_expired');

    const asked = watch(page);
    await page.goto(`${site.publicUrl}/?again`);
    assert.ok(asked.length > 0, 'the provider was asked');
    await page.waitForURL(`${site.publicUrl}/?again`);
    assert.equal((await call(page, CREDENTIALS)).status, 200, 'and a new session has begun');
  });

  test('a session in use outlives the idle time-out', async () => {
    const page = await loggedIn('alice');
    const until = Date.now() + 5000;
    while (Date.now() < until) {
      assert.equal((await call(page, CREDENTIALS)).status, 200);
      await delay(500);
    }
  });
});

async function loggedIn(user) {
  const page = await context.newPage();
  await page.goto(site.publicUrl);
  await logIn(page, user);
  await page.getByText(new RegExp(`${user} example`, 'i')).waitFor();
  // Desk makes calls of its own as it opens; they are over before a test counts any.
  await page.waitForLoadState('networkidle');
  return page;
}

/** What a script of the page gets. */
function call(page, path, options = {}) {
  return page.evaluate(
    async ([path, options]) => {
      const response = await fetch(path, options);
      const { ok, status, type } = response;
      return { ok, status, type, text: await response.text() };
    },
    [path, options],
  );
}

/** URLs at which `page` asks the provider to log somebody in, from now on. */
function watch(page) {
  const asked = [];
  page.on('request', (request) => {
    if (asksProvider(request.url())) asked.push(request.url());
  });
  return asked;
}

function asksProvider(url) {
  return url.startsWith(`${site.provider.issuer}/auth?`);
}

/** The gateway's cookies in this browser. */
async function ours() {
  const cookies = await context.cookies(site.publicUrl);
  return cookies.filter((cookie) => cookie.name.includes(COOKIE));
}

async function eventually(holds, withinMs = 10_000) {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `did not hold within ${withinMs} ms: ${holds}`);
    await delay(100);
  }
}

function values(received, name) {
  return received.headers.filter(([key]) => key === name).map(([, value]) => value);
}

function decoded(authorization) {
  const [scheme, token] = authorization.split(' ');
  assert.equal(scheme, 'Bearer');
  const parts = token.split('.');
  assert.equal(parts.length, 3);
  const [header, claims] = parts
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  return { header, claims };
}
