// The real gateway in front of the demo's stand-ins for Core and BFF, behind a real OpenID
// provider: everything on loopback, on ports of its own, with keys made for this one run.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

import { AUDIENCE, CLIENT_ID, startProvider } from './provider.mjs';

export const ACME = '6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11';
export const COOKIE = 'portcullis';
export const PREFIX = '/.portcullis';

const ROOT = resolve(import.meta.dirname, '../..');
const BINARIES = process.env.PORTCULLIS_BIN_DIR
  ?? resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target', 'debug');
const GATEWAY = process.env.PORTCULLIS_BIN ?? join(BINARIES, 'portcullis');
const DEMO = process.env.PORTCULLIS_DEMO_BIN ?? join(BINARIES, 'portcullis-demo');
const START_MS = 20_000;

/**
 * Starts provider, Core, BFF and gateway.
 *
 * @param {object} [options]
 * @param {string} [options.idleTimeout] of a session, as the configuration writes it
 * @param {number} [options.accessTokenTtl] seconds
 * @param {boolean} [options.redis] whether sessions are kept in a Redis server
 */
export async function startSite({ idleTimeout = '30m', accessTokenTtl = 300, redis = false } = {}) {
  const opened = [];
  const close = async () => {
    for (const end of opened.splice(0).reverse()) await end();
  };
  try {
    const [port, adminPort, corePort, bffPort, redisPort] = await freePorts();
    const publicUrl = `http://localhost:${port}`;
    const provider = await startProvider({
      redirectUris: [`${publicUrl}${PREFIX}/callback`],
      postLogoutRedirectUris: [`${publicUrl}/`],
      backchannelLogoutUri: `${publicUrl}${PREFIX}/backchannel-logout`,
      accessTokenTtl,
    });
    opened.push(provider.close);

    const world = ['--gateway-url', publicUrl, '--iam-url', provider.issuer];
    const core = start(DEMO, ['core', '--port', corePort, ...world]);
    opened.push(core.stop);
    const bff = start(DEMO, ['bff', '--port', bffPort, ...world]);
    opened.push(bff.stop);

    const folder = await mkdtemp(join(tmpdir(), 'portcullis-browser-'));
    opened.push(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'gateway.yaml');
    const ports = { port, adminPort, corePort, bffPort };
    let store = 'cookie';
    if (redis) {
      const settings = ['--port', redisPort, '--bind', '127.0.0.1', '--save', '', '--dir', folder];
      const server = start('redis-server', settings);
      opened.push(server.stop);
      await listens(redisPort, server);
      store = `{ redis: { url: 'redis://127.0.0.1:${redisPort}/0' } }`;
    }
    await writeFile(file, configuration({ ...ports, publicUrl, provider, idleTimeout, store }));
    const gateway = start(GATEWAY, ['run', '--config', file], {
      IAM_CLIENT_SECRET: provider.clientSecret,
      SESSION_KEY: await generated('session'),
      ISSUER_KEY: await generated('issuer'),
    });
    opened.push(gateway.stop);

    const control = `http://127.0.0.1:${corePort + 1}/_stand-in/requests`;
    await answers(control, core);
    await answers(`http://127.0.0.1:${adminPort}/readyz`, gateway);
    return {
      publicUrl,
      adminUrl: `http://127.0.0.1:${adminPort}`,
      provider,
      core: {
        /** What Core has received, oldest first: method, target, headers, body, token claims. */
        requests: async () => (await fetch(control)).json(),
        forget: () => fetch(control, { method: 'DELETE' }),
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function configuration({
  port, adminPort, corePort, bffPort, publicUrl, provider, idleTimeout, store,
}) {
  return `
public_url: ${publicUrl}
listeners:
  - address: 127.0.0.1:${port}
admin:
  address: 127.0.0.1:${adminPort}
iam:
  issuer: ${provider.issuer}
  audience: ${AUDIENCE}
  client:
    id: ${CLIENT_ID}
    secret: { env: IAM_CLIENT_SECRET }
    scopes: [openid, profile, offline_access]
session:
  prefix: ${PREFIX}
  cookie: ${COOKIE}
  keys: [ { env: SESSION_KEY } ]
  idle_timeout: ${idleTimeout}
  store: ${store}
allow_inline_secrets: true
sts:
  issuer:
    iss: ${publicUrl}
    keys: [ { env: ISSUER_KEY } ]
system_roles:
  credential-issuer: [CREDENTIAL_ISSUE, CREDENTIAL_LIST]
  reader: [CREDENTIAL_LIST]
organisations:
  ${ACME}: { name: Acme }
iam_roles:
  organization_admin: { ${ACME}: [credential-issuer] }
  organization_reader: { ${ACME}: [reader] }
upstreams:
  core:
    servers: ["127.0.0.1:${corePort}"]
    auth: { mode: STS, audience: one-core }
  bff:
    servers: ["127.0.0.1:${bffPort}"]
    auth: { mode: IAM }
routes:
  - path: /api/config/v1
    methods: [GET]
    upstream: core
  - path: /api/credential/v1
    methods: [GET]
    permissions: [CREDENTIAL_LIST]
    upstream: core
  - path: /api/credential/v1
    methods: [POST]
    permissions: [CREDENTIAL_ISSUE]
    upstream: core
  - path: /{*rest}
    accept: [session]
    upstream: bff
logs: { level: warn, access: off, audit: off }
server: { threads: 2, grace: 100ms }
`;
}

async function generated(kind) {
  const { stdout } = await promisify(execFile)(GATEWAY, ['keys', 'generate', kind]);
  return stdout.trim();
}

/** A child process; what it says is kept, and shown when it did not do what it should. */
function start(binary, args, environment = {}) {
  const child = spawn(binary, args.map(String), {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-8192);
    });
  }
  const ended = new Promise((done) => {
    child.once('error', (error) => done(String(error)));
    child.once('exit', (code, signal) => done(`exit ${code ?? signal}`));
  });
  return {
    ended,
    said: () => said,
    name: `${binary} ${args[0]}`,
    async stop() {
      // Without a process id it never ran, and there is nothing to end.
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGINT');
      const stopped = await Promise.race([ended, delay(5000, undefined, { ref: false })]);
      if (stopped === undefined) child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Asks until `url` answers 200, the process has ended, or the time is over. */
async function answers(url, child) {
  const deadline = Date.now() + START_MS;
  for (;;) {
    const over = await Promise.race([child.ended, delay(25)]);
    const status = await fetch(url).then((response) => response.status, () => 0);
    if (status === 200) return;
    if (over !== undefined || Date.now() > deadline) {
      throw new Error(`${child.name} does not answer (${over ?? 'too slow'}):\n${child.said()}`);
    }
  }
}

/** Waits until somebody takes connections at a port of this machine. */
async function listens(port, child) {
  const deadline = Date.now() + START_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const open = await Promise.race([
      once(socket, 'connect').then(() => true, () => false),
      child.ended.then(() => false),
    ]);
    socket.destroy();
    if (open) return;
    const over = await Promise.race([child.ended, delay(25)]);
    if (over !== undefined || Date.now() > deadline) {
      throw new Error(`${child.name} does not listen (${over ?? 'too slow'}):\n${child.said()}`);
    }
  }
}

/**
 * Ports that were free a moment ago: gateway, admin, Core, BFF, Redis. The one after Core's is free too,
 * for its control port. All are held at once, so none comes twice.
 */
async function freePorts() {
  const held = [];
  try {
    for (let attempt = 0; attempt < 50; attempt += 1) {
      const core = await listen(0, held);
      const control = await listen(core + 1, held).catch(() => undefined);
      if (control === undefined) continue;
      const [port, admin] = [await listen(0, held), await listen(0, held)];
      const [bff, redis] = [await listen(0, held), await listen(0, held)];
      return [port, admin, core, bff, redis];
    }
    throw new Error('no two neighbouring ports are free');
  } finally {
    await Promise.all(held.map((server) => new Promise((done) => server.close(done))));
  }
}

async function listen(port, held) {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  held.push(server);
  return server.address().port;
}
