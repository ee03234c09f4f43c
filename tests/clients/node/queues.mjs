// What job queues and rate limiters of Node do with a server: BullMQ's whole job cycle and rate-limiter-flexible. Both live
// in Lua scripts, and BullMQ in blocking commands and streams too.
//
//     node queues.mjs HOST PORT [--password PASSWORD]
//
// Prints one line a check and closes with `N passed, N failed`. It flushes database 9 of the server it is given. Against any
// server that speaks the protocol the result must be the same: a check that fails on Redis or Valkey is a wrong check.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';

const DATABASE = 9;

const { values, positionals } = parseArgs({
  options: { password: { type: 'string' } },
  allowPositionals: true,
});
if (positionals.length !== 2) {
  console.error('usage: queues.mjs HOST PORT [--password PASSWORD]');
  process.exit(2);
}
const connection = {
  host: positionals[0],
  port: Number(positionals[1]),
  password: values.password,
  db: DATABASE,
  maxRetriesPerRequest: null,
};

const checks = [];
const check = (name, run) => checks.push({ name, run });

let opened = [];
const open = (what) => {
  what.on?.('error', () => {});
  opened.push(what);
  return what;
};
let number = 0;
/** A queue of its own for each check, with who works on it. */
const work = (processor, { queue = {}, worker = {} } = {}) => {
  number += 1;
  const name = `queue-${number}`;
  const made = open(new Queue(name, { connection, ...queue }));
  const events = open(new QueueEvents(name, { connection }));
  const worked = open(new Worker(name, processor, { connection, drainDelay: 1, ...worker }));
  return { queue: made, events, worker: worked };
};

const until = async (condition, seconds = 50) => {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, 'it did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

check('a job is added, worked on, and its result comes back', async () => {
  const { queue, events } = work(async (job) => job.data.a + job.data.b);
  await events.waitUntilReady();
  const job = await queue.add('sum', { a: 2, b: 3 });
  assert.equal(await job.waitUntilFinished(events, 50_000), 5);
  assert.equal(await job.getState(), 'completed');
  assert.deepEqual(await queue.getJobCounts('completed', 'failed', 'waiting'), { completed: 1, failed: 0, waiting: 0 });
});

check('many jobs are each worked on once, by several at a time', async () => {
  const seen = new Map();
  const { queue } = work(
    async (job) => {
      seen.set(job.data.n, (seen.get(job.data.n) ?? 0) + 1);
    },
    { worker: { concurrency: 20 } },
  );
  await queue.addBulk(Array.from({ length: 500 }, (_, n) => ({ name: 'one', data: { n } })));
  await until(async () => (await queue.getCompletedCount()) === 500);
  assert.equal(seen.size, 500);
  assert.ok([...seen.values()].every((times) => times === 1));
});

check('a delayed job comes when its time has come', async () => {
  const began = Date.now();
  const { queue, events } = work(async () => Date.now() - began);
  await events.waitUntilReady();
  const job = await queue.add('later', {}, { delay: 700 });
  assert.equal(await job.getState(), 'delayed');
  const after = await job.waitUntilFinished(events, 50_000);
  assert.ok(after >= 690, `after ${after} ms`);
});

check('a job that fails is tried again, and at last put aside', async () => {
  let tries = 0;
  const { queue, events } = work(async (job) => {
    tries += 1;
    if (job.name === 'hopeless' || job.attemptsMade < 2) throw new Error('not yet');
    return 'at last';
  });
  await events.waitUntilReady();
  const job = await queue.add('stubborn', {}, { attempts: 5, backoff: { type: 'exponential', delay: 50 } });
  assert.equal(await job.waitUntilFinished(events, 50_000), 'at last');
  assert.equal(tries, 3);
  const hopeless = await queue.add('hopeless', {}, { attempts: 2, backoff: { type: 'fixed', delay: 20 } });
  await assert.rejects(hopeless.waitUntilFinished(events, 50_000), /not yet/);
  assert.equal(await queue.getFailedCount(), 1);
});

check('the more urgent of the waiting jobs comes first', async () => {
  const order = [];
  const { queue, worker } = work(async (job) => order.push(job.data.n), { worker: { autorun: false } });
  for (const [n, priority] of [[1, 30], [2, 10], [3, 20]]) {
    await queue.add('one', { n }, { priority });
  }
  await queue.add('two', { n: 0 });
  worker.run();
  await until(() => order.length === 4);
  assert.deepEqual(order, [0, 2, 3, 1]);
});

check('a repeated job comes again and again until its schedule is removed', async () => {
  let times = 0;
  const { queue } = work(async () => {
    times += 1;
  });
  await queue.upsertJobScheduler('often', { every: 200 }, { name: 'tick' });
  await until(() => times >= 3);
  assert.equal((await queue.getJobSchedulers()).length, 1);
  await queue.removeJobScheduler('often');
  assert.equal((await queue.getJobSchedulers()).length, 0);
});

check('a flow works on children before their parent, which sees their results', async () => {
  const { queue, events } = work(async (job) => {
    if (job.name !== 'parent') return job.data.value;
    return Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0);
  });
  await events.waitUntilReady();
  const flow = open(new FlowProducer({ connection }));
  const child = (value) => ({ name: 'child', queueName: queue.name, data: { value } });
  const tree = await flow.add({ name: 'parent', queueName: queue.name, children: [1, 2, 3, 4].map(child) });
  assert.equal(await tree.job.waitUntilFinished(events, 50_000), 10);
});

check('a limit on the rate of jobs holds', async () => {
  const times = [];
  const began = Date.now();
  const { queue } = work(async () => times.push(Date.now()), { worker: { limiter: { max: 3, duration: 400 } } });
  await queue.addBulk(Array.from({ length: 9 }, (_, n) => ({ name: 'one', data: { n } })));
  await until(() => times.length === 9);
  assert.ok(times[8] - began >= 790, `nine jobs took ${times[8] - began} ms`);
});

check('progress and logs of a job are told', async () => {
  const { queue, events } = work(async (job) => {
    await job.updateProgress(50);
    await job.log('half way');
  });
  await events.waitUntilReady();
  const heard = [];
  events.on('progress', ({ data }) => heard.push(data));
  const job = await queue.add('told', {});
  await job.waitUntilFinished(events, 50_000);
  await until(() => heard.length === 1);
  assert.deepEqual(heard, [50]);
  assert.deepEqual((await queue.getJobLogs(job.id)).logs, ['half way']);
});

check('a queue that is paused waits, and one that is obliterated is empty', async () => {
  let done = 0;
  const { queue, worker } = work(async () => {
    done += 1;
  });
  await worker.waitUntilReady();
  await queue.pause();
  await queue.add('one', {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(done, 0);
  await queue.resume();
  await until(() => done === 1);
  await worker.close();
  await queue.add('two', {});
  await queue.obliterate({ force: true });
  assert.equal(await queue.count(), 0);
  const client = open(new Redis(connection));
  assert.deepEqual(await client.keys(`bull:${queue.name}:*`), []);
});

check('a limiter in Lua lets pass as many as it is told, and says how long to wait', async () => {
  const storeClient = open(new Redis(connection));
  const limiter = new RateLimiterRedis({ storeClient, keyPrefix: 'limit', points: 5, duration: 2 });
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => limiter.consume('someone')));
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 5);
  const refused = results.find(({ status }) => status === 'rejected').reason;
  assert.ok(refused.msBeforeNext > 0 && refused.msBeforeNext <= 2000, `${refused.msBeforeNext} ms`);
  await until(() => limiter.consume('someone').then(() => true, () => false));
});

// ---------------------------------------------------------------------------------------------------------------------

const admin = new Redis(connection);
await admin.flushdb();
let passed = 0;
let failed = 0;
for (const { name, run } of checks) {
  const began = Date.now();
  // A job that never ends must not hold up the rest.
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no end after 60 s')), 60_000);
  });
  try {
    await Promise.race([run(), late]);
    passed += 1;
    console.log(`ok      queues: ${name} (${((Date.now() - began) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failed += 1;
    const where = /queues\.mjs:(\d+):/.exec(error.stack ?? '');
    const message = String(error.message).split('\n').slice(0, 8).join(' ');
    console.log(`FAILED  queues: ${name}: ${where ? `line ${where[1]}: ` : ''}${message}`);
  }
  clearTimeout(timer);
  const closing = opened.reverse().map((what) => (what instanceof Redis ? what.quit() : what.close(true)));
  await Promise.race([Promise.allSettled(closing), new Promise((resolve) => setTimeout(resolve, 5000))]);
  opened = [];
}
await admin.flushdb();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
