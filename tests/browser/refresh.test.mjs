// Sessions that outlive their access tokens, and that end with the provider's: with a provider that
// rotates refresh tokens and revokes everything when one is used twice.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { launchBrowser, logIn } from './browser.mjs';
import { PREFIX, startSite } from './gateway.mjs';

const CALL = '/api/config/v1';
const TTL_SECONDS = 10;

let browser, site, context;

before(async () => {
  browser = await launchBrowser();
});

after(() => browser?.close());

beforeEach(async () => {
  context = await browser.newContext();
});

afterEach(() => context?.close());

for (const redis of [false, true]) {
  describe(redis ? 'with sessions in Redis' : 'with sessions in cookies', () => {
    before(async () => {
      site = await startSite({ accessTokenTtl: TTL_SECONDS, redis });
    });
    after(() => site?.close());
    beforeEach(() => {
      site.provider.slow(0);
      Object.assign(site.provider.refreshes, { used: 0, revoked: 0 });
    });

    test('a hundred calls at the end of a token cause one refresh and no logout', async () => {
      const page = await loggedIn('alice');
      const { used } = site.provider.refreshes;
      await delay((TTL_SECONDS + 1) * 1000);
      site.provider.slow(3000);
      const statuses = await page.evaluate(
        (path) => Promise.all(Array.from({ length: 100 }, () => fetch(path).then((answer) => answer.status))),
        CALL,
      );
      assert.deepEqual([...new Set(statuses)], [200]);
      assert.equal(site.provider.refreshes.used, used + 1);
      assert.equal(site.provider.refreshes.revoked, 0);
      assert.equal(await status(page), 200, 'the session goes on');
    });

    test('ten tabs opened at the end of a token all show their page', async () => {
      const page = await loggedIn('bob');
      await page.close();
      await delay((TTL_SECONDS + 1) * 1000);
      site.provider.slow(1000);
      const tabs = await Promise.all(Array.from({ length: 10 }, () => context.newPage()));
      await Promise.all(tabs.map((tab, at) => tab.goto(`${site.publicUrl}/?tab=${at}`)));
      for (const [at, tab] of tabs.entries()) assert.equal(tab.url(), `${site.publicUrl}/?tab=${at}`);
      assert.equal(site.provider.refreshes.revoked, 0);
      assert.equal(site.provider.logins.filter((name) => name === 'bob').length, 1);
    });

    test('a logout ends the session at the provider, and leads back', async () => {
      const page = await loggedIn('alice');
      await page.goto(`${site.publicUrl}${PREFIX}/logout`);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.waitForURL(`${site.provider.issuer}/**`);
      await page.getByRole('button', { name: 'Yes' }).click();
      // Back at the gateway there is no session, and the provider asks who it is.
      await page.getByLabel('Password').waitFor();
      assert.ok(page.url().startsWith(site.provider.issuer));
    });

    test('a session that ends at the provider ends here', async () => {
      const page = await loggedIn('alice');
      const kept = await context.cookies(site.publicUrl);
      assert.equal(await status(page), 200);
      const other = await context.newPage();
      await other.goto(`${site.provider.issuer}/session/end`);
      await other.getByRole('button', { name: 'Yes' }).click();
      await other.waitForURL(/session\/end\/success/);
      assert.equal(await status(page), 401);
      // Not because the browser has lost its cookie.
      const ours = (cookies) => cookies.find((cookie) => cookie.name === 'portcullis')?.value;
      assert.equal(ours(await context.cookies(site.publicUrl)), ours(kept));
    });
  });
}

async function loggedIn(user) {
  const page = await context.newPage();
  await page.goto(site.publicUrl);
  await logIn(page, user);
  await page.getByText(new RegExp(`${user} example`, 'i')).waitFor();
  await page.waitForLoadState('networkidle');
  return page;
}

function status(page) {
  return page.evaluate((path) => fetch(path).then((answer) => answer.status), CALL);
}
