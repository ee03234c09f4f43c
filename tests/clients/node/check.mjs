// What a user's first hour with node-redis does: strings, keys, expiry, the connection and the server's own commands.
//
//     node check.mjs HOST PORT [--password PASSWORD]
//
// Runs the same checks over RESP2 and RESP3, prints one line a check and closes with `N passed, N failed`. It flushes
// databases 9 and 10 of the server it is given. Against any server that speaks the protocol the result must be the same:
// a check that fails on Redis or Valkey is a wrong check.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { createClient, createClientPool, RESP_TYPES } from 'redis';

const DATABASE = 9;
const OTHER_DATABASE = 10;

const { values, positionals } = parseArgs({
  options: { password: { type: 'string' } },
  allowPositionals: true,
});
if (positionals.length !== 2) {
  console.error('usage: check.mjs HOST PORT [--password PASSWORD]');
  process.exit(2);
}
const [host, port] = positionals;
const password = values.password;

const checks = [];
const check = (name, run) => checks.push({ name, run });

/** A server to check over one version of the protocol; it closes the clients that a check opened. */
class Server {
  constructor(RESP) {
    this.RESP = RESP;
    this.clients = [];
  }

  url(database = DATABASE, secret = password) {
    return `redis://${secret ? `:${secret}@` : ''}${host}:${port}/${database}`;
  }

  async client({ database = DATABASE, ...options } = {}) {
    const client = createClient({ url: this.url(database), RESP: this.RESP, ...options });
    // A client without a listener for errors would end the process when its connection is cut.
    client.on('error', () => {});
    this.clients.push(client);
    await client.connect();
    return client;
  }

  close() {
    for (const client of this.clients) if (client.isOpen) client.destroy();
    this.clients = [];
  }
}

async function until(condition, milliseconds = 50_000) {
  const end = Date.now() + milliseconds;
  while (!(await condition())) {
    assert.ok(Date.now() < end, 'it did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const between = (value, low, high) => assert.ok(value > low && value <= high, `${value} is not in (${low}, ${high}]`);

// --- Connection ------------------------------------------------------------------------------------------------------

check('connects by URL and answers PING', async (server) => {
  const client = await server.client();
  assert.equal(await client.ping(), 'PONG');
  assert.equal(await client.ping('hello'), 'hello');
  assert.equal(await client.echo('hello'), 'hello');
});

check('HELLO names the server and the protocol', async (server) => {
  const client = await server.client();
  const hello = await client.hello(server.RESP);
  assert.equal(hello.proto, server.RESP);
  assert.equal(hello.role, 'master');
  assert.ok(hello.id > 0);
});

check('authentication is asked for and checked', async (server) => {
  if (!password) {
    const client = await server.client();
    await assert.rejects(client.sendCommand(['AUTH', 'something']), /without any password configured/);
    return;
  }
  const once = { RESP: server.RESP, socket: { reconnectStrategy: false } };
  const wrong = createClient({ url: server.url(DATABASE, `not-${password}`), ...once });
  wrong.on('error', () => {});
  await assert.rejects(wrong.connect(), /WRONGPASS/);
  const none = createClient({ url: `redis://${host}:${port}`, ...once });
  none.on('error', () => {});
  await assert.rejects(none.connect().then(() => none.get('x')), /NOAUTH/);
  for (const client of [wrong, none]) if (client.isOpen) client.destroy();
  const named = await server.client({ username: 'default', password });
  assert.equal(await named.ping(), 'PONG');
});

check('databases are apart', async (server) => {
  const nine = await server.client();
  const ten = await server.client({ database: OTHER_DATABASE });
  await ten.flushDb();
  await nine.set('where', 'nine');
  assert.equal(await ten.get('where'), null);
  assert.equal(await nine.move('where', OTHER_DATABASE), 1);
  assert.equal(await ten.get('where'), 'nine');
  await nine.select(OTHER_DATABASE);
  assert.equal(await nine.dbSize(), 1);
  await ten.flushDb();
});

check('client names and ids show in the list', async (server) => {
  const client = await server.client({ name: 'first-hour' });
  assert.equal(await client.clientGetName(), 'first-hour');
  const id = await client.clientId();
  const row = (await client.clientList()).find((row) => row.id === id);
  assert.equal(row.name, 'first-hour');
  assert.equal(row.db, DATABASE);
  assert.match(await client.sendCommand(['CLIENT', 'LIST', 'ID', String(id)]), /lib-name=node-redis/);
  assert.equal((await client.clientInfo()).id, id);
  await client.clientSetName('second-hour');
  assert.equal(await client.clientGetName(), 'second-hour');
  await assert.rejects(client.clientSetName('with space'), /cannot contain spaces/);
});

check('killed clients reconnect by themselves', async (server) => {
  const victim = await server.client({ socket: { reconnectStrategy: 10 } });
  const killer = await server.client();
  await victim.set('survives', '1');
  const before = await victim.clientId();
  assert.equal(await killer.clientKill({ filter: 'ID', id: before }), 1);
  await until(async () => !(await killer.clientList()).some((row) => row.id === before));
  await until(async () => {
    try {
      return (await victim.clientId()) !== before;
    } catch {
      return false;
    }
  });
  assert.equal(await victim.get('survives'), '1');
  await assert.rejects(killer.sendCommand(['CLIENT', 'KILL', '127.0.0.1:1']), /No such client/);
});

// --- Strings ---------------------------------------------------------------------------------------------------------

check('SET takes its options', async (server) => {
  const client = await server.client();
  assert.equal(await client.set('k', 'one'), 'OK');
  assert.equal(await client.set('k', 'two', { condition: 'NX' }), null);
  assert.equal(await client.set('fresh', 'two', { condition: 'XX' }), null);
  assert.equal(await client.set('k', 'two', { condition: 'XX', GET: true }), 'one');
  assert.equal(await client.set('k', 'three', { expiration: { type: 'EX', value: 100 } }), 'OK');
  between(await client.ttl('k'), 90, 100);
  assert.equal(await client.set('k', 'four', { expiration: 'KEEPTTL' }), 'OK');
  between(await client.ttl('k'), 90, 100);
  const at = Math.floor(Date.now() / 1000) + 1000;
  await client.set('k', 'five', { expiration: { type: 'EXAT', value: at } });
  assert.equal(await client.expireTime('k'), at);
  await client.set('k', 'six', { expiration: { type: 'PXAT', value: at * 1000 + 7 } });
  assert.equal(await client.pExpireTime('k'), at * 1000 + 7);
  await client.setEx('k', 10, 'seven');
  await client.pSetEx('k', 10_000, 'seven');
  assert.equal(await client.setNX('k', 'no'), 0);
  assert.equal(await client.get('k'), 'seven');
  await assert.rejects(client.sendCommand(['SET', 'k', 'v', 'EX', '1', 'PX', '1']), /syntax error/);
  await assert.rejects(client.sendCommand(['SET', 'k', 'v', 'EX', '0']), /invalid expire time in 'set' command/);
});

check('counters count', async (server) => {
  const client = await server.client();
  await client.del('n');
  assert.equal(await client.incr('n'), 1);
  assert.equal(await client.incrBy('n', 41), 42);
  assert.equal(await client.decr('n'), 41);
  assert.equal(await client.decrBy('n', 1), 40);
  assert.equal(Number(await client.incrByFloat('n', 0.5)), 40.5);
  await client.set('n', 'word');
  await assert.rejects(client.incr('n'), /value is not an integer or out of range/);
});

check('strings are cut and joined', async (server) => {
  const client = await server.client();
  await client.del('s');
  assert.equal(await client.append('s', 'Hello World'), 11);
  assert.equal(await client.getRange('s', -5, -1), 'World');
  assert.equal(await client.setRange('s', 6, 'Redis'), 11);
  assert.equal(await client.strLen('s'), 11);
  assert.equal(await client.getEx('s', { type: 'EX', value: 50 }), 'Hello Redis');
  between(await client.ttl('s'), 40, 50);
  assert.equal(await client.getEx('s', { type: 'PERSIST' }), 'Hello Redis');
  assert.equal(await client.ttl('s'), -1);
  assert.equal(await client.getDel('s'), 'Hello Redis');
  assert.equal(await client.exists('s'), 0);
});

check('many keys at once', async (server) => {
  const client = await server.client();
  await client.flushDb();
  const keys = Array.from({ length: 100 }, (_, i) => `m${i}`);
  assert.equal(await client.mSet(Object.fromEntries(keys.map((key, i) => [key, String(i)]))), 'OK');
  assert.deepEqual(await client.mGet([...keys, 'none']), [...keys.map((_, i) => String(i)), null]);
  assert.equal(await client.mSetNX({ m1: '0', other: '0' }), 0);
  assert.equal(await client.del(['m0', 'm1', 'none']), 2);
  assert.equal(await client.unlink('m2'), 1);
  assert.equal(await client.exists(['m3', 'm3', 'm0']), 2);
  assert.equal(await client.dbSize(), 97);
});

check('longest common subsequence', async (server) => {
  const client = await server.client();
  await client.mSet({ a: 'ohmytext', b: 'mynewtext' });
  assert.equal(await client.lcs('a', 'b'), 'mytext');
  assert.equal(await client.lcsLen('a', 'b'), 6);
  const found = await client.lcsIdxWithMatchLen('a', 'b', { MINMATCHLEN: 4 });
  assert.deepEqual(JSON.parse(JSON.stringify(found)), { matches: [[[4, 7], [5, 8], 4]], len: 6 });
});

check('values and keys are binary safe', async (server) => {
  const client = (await server.client()).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  for (const key of [every, Buffer.from('\r\n'), Buffer.from([0]), Buffer.from('ключ')]) {
    await client.set(key, every);
    assert.deepEqual(await client.get(key), every);
    assert.equal(await client.del(key), 1);
  }
  await client.set('empty', '');
  assert.deepEqual(await client.get('empty'), Buffer.alloc(0));
});

check('a megabyte goes there and back', async (server) => {
  const client = await server.client();
  const block = 'abcdefgh'.repeat(1 << 17);
  await client.set('big', block);
  assert.equal(await client.strLen('big'), 1 << 20);
  const copies = await Promise.all(Array.from({ length: 8 }, () => client.get('big')));
  assert.ok(copies.every((copy) => copy === block));
  await client.del('big');
});

// --- Keys and expiry -------------------------------------------------------------------------------------------------

check('keys expire and persist', async (server) => {
  const client = await server.client();
  await client.del(['e', 'none']);
  assert.deepEqual([await client.ttl('none'), await client.pTTL('none'), await client.expire('none', 1)], [-2, -2, 0]);
  await client.set('e', 'v');
  assert.equal(await client.ttl('e'), -1);
  assert.equal(await client.expire('e', 100), 1);
  assert.equal(await client.expire('e', 50, 'NX'), 0);
  assert.equal(await client.expire('e', 50, 'LT'), 1);
  assert.equal(await client.expire('e', 40, 'GT'), 0);
  assert.equal(await client.expire('e', 60, 'XX'), 1);
  assert.equal(await client.persist('e'), 1);
  assert.equal(await client.persist('e'), 0);
  const at = Math.floor(Date.now() / 1000) + 500;
  assert.equal(await client.expireAt('e', at), 1);
  assert.equal(await client.expireTime('e'), at);
  assert.equal(await client.pExpire('e', 40), 1);
  await until(async () => (await client.get('e')) === null);
  assert.equal(await client.exists('e'), 0);
});

check('SCAN meets every key', async (server) => {
  const client = await server.client();
  await client.flushDb();
  const keys = Array.from({ length: 1000 }, (_, i) => `scan:${i}`);
  await client.mSet(Object.fromEntries(keys.map((key) => [key, '1'])));
  await client.set('else', '1');
  const found = new Set();
  for await (const batch of client.scanIterator({ MATCH: 'scan:*', COUNT: 37, TYPE: 'string' })) {
    for (const key of batch) found.add(key);
  }
  assert.deepEqual([...found].sort(), [...keys].sort());
  assert.deepEqual((await client.keys('scan:[1-3]')).sort(), ['scan:1', 'scan:2', 'scan:3']);
  assert.ok([...keys, 'else'].includes(await client.randomKey()));
});

check('keys are renamed, copied and typed', async (server) => {
  const client = await server.client();
  await client.flushDb();
  await client.set('from', 'v', { expiration: { type: 'EX', value: 100 } });
  assert.equal(await client.rename('from', 'to'), 'OK');
  between(await client.ttl('to'), 90, 100);
  await assert.rejects(client.rename('from', 'to'), /no such key/);
  await client.set('third', '3');
  assert.equal(await client.renameNX('to', 'third'), 0);
  assert.equal(await client.copy('to', 'third'), 0);
  assert.equal(await client.copy('to', 'third', { REPLACE: true }), 1);
  assert.equal(await client.copy('to', 'to', { DB: OTHER_DATABASE, REPLACE: true }), 1);
  assert.equal(await client.type('to'), 'string');
  assert.equal(await client.type('nothing'), 'none');
});

check('encodings are named', async (server) => {
  const client = await server.client();
  await client.mSet({ int: '12345', short: 'abc', long: 'x'.repeat(1000) });
  assert.equal(await client.objectEncoding('int'), 'int');
  assert.equal(await client.objectEncoding('short'), 'embstr');
  assert.equal(await client.objectEncoding('long'), 'raw');
  assert.ok((await client.objectIdleTime('long')) < 60);
  assert.ok((await client.memoryUsage('long')) >= 1000);
});

// --- Pipelines and many connections ----------------------------------------------------------------------------------

check('ten thousand commands in flight at once', async (server) => {
  const client = await server.client();
  const replies = await Promise.all(
    Array.from({ length: 10_000 }, (_, i) => (i % 2 ? client.get(`p${i - 1}`) : client.set(`p${i}`, String(i)))),
  );
  assert.ok(replies.every((reply, i) => reply === (i % 2 ? String(i - 1) : 'OK')));
});

check('a pipeline answers in order and keeps its error in place', async (server) => {
  const client = await server.client();
  const pipe = client.multi();
  for (let i = 0; i < 1000; i++) pipe.set(`q${i}`, String(i)).get(`q${i}`);
  const replies = await pipe.execAsPipeline();
  assert.equal(replies.length, 2000);
  assert.ok(replies.every((reply, i) => reply === (i % 2 ? String((i - 1) / 2) : 'OK')));
  await client.set('word', 'abc');
  const settled = await Promise.allSettled([client.get('word'), client.incr('word'), client.get('word')]);
  assert.deepEqual(settled.map((result) => result.status), ['fulfilled', 'rejected', 'fulfilled']);
});

check('a pool of twenty connections', async (server) => {
  const pool = createClientPool({ url: server.url(), RESP: server.RESP }, { minimum: 20, maximum: 20 });
  pool.on('error', () => {});
  await pool.connect();
  await pool.set('shared', '0');
  await Promise.all(Array.from({ length: 2000 }, () => pool.execute((client) => client.incr('shared'))));
  assert.equal(await pool.get('shared'), '2000');
  pool.destroy();
});

// --- The server ------------------------------------------------------------------------------------------------------

check('errors are rejections with the known words', async (server) => {
  const client = await server.client();
  await client.set('word', 'abc');
  await assert.rejects(client.incr('word'), /^.*ERR value is not an integer or out of range/);
  const unknown = /unknown command 'NOSUCHCOMMAND', with args beginning with: 'a' 'b'/;
  await assert.rejects(client.sendCommand(['NOSUCHCOMMAND', 'a', 'b']), unknown);
  await assert.rejects(client.sendCommand(['GET']), /wrong number of arguments for 'get' command/);
  await assert.rejects(client.sendCommand(['CLIENT', 'NOSUCH']), /unknown subcommand 'NOSUCH'/);
  await assert.rejects(client.sendCommand(['SELECT', '100000']), /DB index is out of range/);
  assert.equal(await client.ping(), 'PONG');
});

check('INFO parses', async (server) => {
  const client = await server.client();
  await client.set('one', '1');
  const fields = new Map(
    (await client.info())
      .split('\r\n')
      .filter((line) => line && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
  assert.equal(fields.get('tcp_port'), port);
  assert.match(fields.get('redis_version'), /^\d+\.\d+\.\d+$/);
  assert.ok(Number(fields.get('used_memory')) > 0);
  assert.match(fields.get(`db${DATABASE}`), new RegExp(`^keys=${await client.dbSize()},`));
  assert.match(await client.info('memory'), /^# Memory\r\n/);
});

check('configuration is read and changed', async (server) => {
  const client = await server.client();
  const plain = async (...names) => ({ ...(await client.configGet(names)) });
  const { 'maxmemory-policy': old } = await plain('maxmemory-policy');
  await client.configSet('maxmemory-policy', 'allkeys-lru');
  assert.deepEqual(await plain('maxmemory-policy'), { 'maxmemory-policy': 'allkeys-lru' });
  await client.configSet('maxmemory-policy', old);
  assert.equal((await plain('maxmemory*', 'port')).port, port);
  await assert.rejects(client.configSet('maxmemory-policy', 'nonsense'), /CONFIG SET failed/);
  await assert.rejects(client.configSet('no-such-setting', '1'), /Unknown option/);
});

check('the command table describes itself', async (server) => {
  const client = await server.client();
  assert.ok((await client.commandCount()) >= 60);
  const [get, none] = await client.commandInfo(['get', 'nosuch']);
  assert.equal(get.name, 'get');
  assert.equal(get.arity, 2);
  assert.equal(none, null);
  assert.equal((await client.command()).length, await client.commandCount());
  assert.deepEqual(await client.commandGetKeys(['MSET', 'a', '1', 'b', '2']), ['a', 'b']);
  assert.ok((await client.commandList()).includes('set'));
  assert.match(JSON.stringify(await client.sendCommand(['COMMAND', 'DOCS', 'set'])), /summary.*complexity.*keepttl/is);
});

check('a monitor sees commands', async (server) => {
  const watcher = await server.client();
  const client = await server.client();
  let seen = '';
  await watcher.monitor((line) => (seen += line));
  await client.set('seen', 'by monitor');
  await until(() => seen.includes('"SET" "seen" "by monitor"'));
});

check('the clock is right', async (server) => {
  const client = await server.client();
  const [seconds] = await client.sendCommand(['TIME']);
  assert.ok(Math.abs(Number(seconds) - Date.now() / 1000) < 60);
});

// ---------------------------------------------------------------------------------------------------------------------

let passed = 0;
let failed = 0;
for (const RESP of [2, 3]) {
  const server = new Server(RESP);
  await (await server.client()).flushDb();
  for (const { name, run } of checks) {
    const began = Date.now();
    // A client that waits for ever must not hold up the rest.
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('no end after 60 s')), 60_000);
    });
    try {
      await Promise.race([run(server), late]);
      passed += 1;
      console.log(`ok      node RESP${RESP}: ${name} (${((Date.now() - began) / 1000).toFixed(2)} s)`);
    } catch (error) {
      failed += 1;
      const where = /check\.mjs:(\d+):/.exec(error.stack ?? '');
      const message = String(error.message).split('\n').slice(0, 8).join(' ');
      console.log(`FAILED  node RESP${RESP}: ${name}: ${where ? `line ${where[1]}: ` : ''}${message}`);
    }
    clearTimeout(timer);
    server.close();
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
