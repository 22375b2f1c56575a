import { launchBrowser } from './browser.mjs';
import { startSite, ACME } from './gateway.mjs';
const site = await startSite();
const browser = await launchBrowser();
try {
  for (let i = 0; i < 40; i++) {
    const t = i % 5;
    const paths = ['/api/config/v1', '/nothing/' + i, '/api/credential/v1', '/api/credential/v1/..%2fx', '/'];
    await fetch(site.publicUrl + paths[t], { redirect: 'manual', headers: t === 2 ? { authorization: 'Bearer x.y.z' } : t===4 ? {accept:'text/html'} : {} });
  }
  const bin = new Date();
  console.log(JSON.stringify(await (await fetch(site.adminUrl + '/status.json')).json()).slice(0, 3000));
  for (const [name, width, height] of [['desktop', 1280, 900], ['phone', 360, 780]]) {
    for (const scheme of ['light', 'dark']) {
      const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
      page.on('console', (m) => console.log(name, scheme, m.type(), m.text()));
      page.on('pageerror', (e) => console.log('PAGEERROR', e.message));
      await page.goto(site.adminUrl + '/status');
      await page.getByRole('button', { name: /Explain the refusal/ }).first().click();
      await page.getByText('authentication').first().waitFor();
      await page.locator('.steps').waitFor();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      console.log(name, scheme, 'overflow', wide);
      await page.screenshot({ path: `/tmp/shot-${name}-${scheme}.png`, fullPage: true });
      await page.close();
    }
  }
} finally { await browser.close(); await site.close(); }
