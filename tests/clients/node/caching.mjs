// Client-side caching with node-redis: its cache for one connection, and for a pool.
//
//     node caching.mjs HOST PORT [--password PASSWORD]
//
// Prints one line a check and closes with `N passed, N failed`. It flushes database 9 of the server it is given. Against any
// server that speaks the protocol the result must be the same: a check that fails on Redis or Valkey is a wrong check.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { BasicClientSideCache, BasicPooledClientSideCache, createClient, createClientPool } from 'redis';

const DATABASE = 9;

const { values, positionals } = parseArgs({
  options: { password: { type: 'string' } },
  allowPositionals: true,
});
if (positionals.length !== 2) {
  console.error('usage: caching.mjs HOST PORT [--password PASSWORD]');
  process.exit(2);
}
const [host, port] = positionals;
const login = values.password ? `:${encodeURIComponent(values.password)}@` : '';
const url = `redis://${login}${host}:${port}/${DATABASE}`;

const opened = [];
const connect = async (client) => {
  client.on('error', () => {});
  opened.push(client);
  await client.connect();
  return client;
};
const plain = () => connect(createClient({ url, RESP: 3 }));
const caching = (options = {}) => {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0, evictPolicy: 'LRU', recordStats: true, ...options });
  return connect(createClient({ url, RESP: 3, clientSideCache: cache })).then((client) => ({ client, cache }));
};

const until = async (condition, seconds = 50) => {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, 'it did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

const checks = [];
const check = (name, run) => checks.push({ name, run });

check('a value is fetched once until it changes', async () => {
  const other = await plain();
  const { client, cache } = await caching();
  await other.set('k', '1');
  for (let i = 0; i < 20; i += 1) assert.equal(await client.get('k'), '1');
  assert.equal(cache.stats().missCount, 1);
  assert.equal(cache.stats().hitCount, 19);
  await other.set('k', '2');
  await until(() => cache.size() === 0);
  for (let i = 0; i < 20; i += 1) assert.equal(await client.get('k'), '2');
  assert.equal(cache.stats().missCount, 2);
});

check('all types, and commands with several keys', async () => {
  const other = await plain();
  const { client, cache } = await caching();
  await other.multi().rPush('list', ['a', 'b']).hSet('hash', 'f', 'v').sAdd('set', 'm').set('s', 'x').exec();
  assert.deepEqual(await client.lRange('list', 0, -1), ['a', 'b']);
  assert.deepEqual(Object.entries(await client.hGetAll('hash')), [['f', 'v']]);
  assert.deepEqual(await client.sMembers('set'), ['m']);
  assert.deepEqual(await client.mGet(['s', 'none']), ['x', null]);
  assert.equal(cache.size(), 4);
  await other.multi().lPop('list').hSet('hash', 'g', 'w').del('set').set('none', 'y').exec();
  await until(() => cache.size() === 0);
  assert.deepEqual(await client.lRange('list', 0, -1), ['b']);
  assert.equal(await client.hLen('hash'), 2);
  assert.deepEqual(await client.sMembers('set'), []);
  assert.deepEqual(await client.mGet(['s', 'none']), ['x', 'y']);
});

check('expiry, own changes and FLUSHDB empty the cache', async () => {
  const other = await plain();
  const { client, cache } = await caching();
  await other.set('short', '1');
  assert.equal(await client.get('short'), '1');
  await other.pExpire('short', 100);
  await until(async () => (await client.get('short')) === null);
  await client.set('own', '1');
  assert.equal(await client.get('own'), '1');
  await client.incr('own');
  assert.equal(await client.get('own'), '2');
  await other.flushDb();
  await until(() => cache.size() === 0);
  assert.equal(await client.get('own'), null);
});

check('no stale value is seen while others write', async () => {
  const other = await plain();
  const { client, cache } = await caching();
  await other.set('counter', '0');
  let last = 0;
  let done = false;
  const writer = (async () => {
    for (let i = 0; i < 300; i += 1) await other.incr('counter');
    done = true;
  })();
  while (!done) {
    const now = Number(await client.get('counter'));
    assert.ok(now >= last, `${now} after ${last}`);
    last = now;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writer;
  await until(async () => (await client.get('counter')) === '300');
  assert.ok(cache.stats().missCount >= 1);
});

check('a pool shares one cache', async () => {
  const other = await plain();
  const cache = new BasicPooledClientSideCache({ ttl: 0, maxEntries: 0, recordStats: true });
  const pool = createClientPool({ url, RESP: 3 }, { minimum: 3, maximum: 3, clientSideCache: cache });
  await connect(pool);
  await other.set('k', '1');
  assert.deepEqual(await Promise.all(Array.from({ length: 12 }, () => pool.get('k'))), Array(12).fill('1'));
  await other.set('k', '2');
  await until(async () => (await pool.get('k')) === '2');
});

let passed = 0;
let failed = 0;
await (await plain()).flushDb();
for (const { name, run } of checks) {
  const began = Date.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no end after 60 s')), 60_000);
  });
  try {
    await Promise.race([run(), late]);
    passed += 1;
    console.log(`ok      node: ${name} (${((Date.now() - began) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failed += 1;
    const where = /caching\.mjs:(\d+):/.exec(error.stack ?? '');
    const message = String(error.message).split('\n').slice(0, 8).join(' ');
    console.log(`FAILED  node: ${name}: ${where ? `line ${where[1]}: ` : ''}${message}`);
  }
  clearTimeout(timer);
  for (const client of opened.splice(0)) if (client.isOpen) client.destroy();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
