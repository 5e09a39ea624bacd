// No-op jobs through BullMQ: its own pace for scripts/bench engine. REDIS is the server. Arguments: jobs, seconds.
import { createRequire } from 'node:module'
const { Queue, Worker } = createRequire(process.env.BULLMQ + '/')('bullmq')

const [jobs, seconds] = process.argv.slice(2).map(Number)
const { hostname: host, port } = new URL(process.env.REDIS)
const connection = { host, port: Number(port), maxRetriesPerRequest: null }
const SINGLES = 2000, BULK = 1000
const now = () => performance.now()
const queue = new Queue('noop', { connection })
await queue.waitUntilReady()

let begun = now()
for (let n = 0; n < SINGLES; n++) await queue.add('noop', { name: `film-${n}.zip` })
const single = SINGLES / (now() - begun) * 1e3

begun = now()
for (let first = SINGLES; first < jobs; first += BULK) {
  await queue.addBulk(Array.from({ length: Math.min(BULK, jobs - first) }, (_, n) => ({ name: 'noop', data: { name: `film-${n}.zip` } })))
}
const bulk = (jobs - SINGLES) / (now() - begun) * 1e3

let ended = 0, wake
const took = []
const until = async count => { while (ended < count) await new Promise(resolve => { wake = resolve }) }
begun = now()
const worker = new Worker('noop', async job => { if (job.data.sent) took.push(now() - job.data.sent) }, { connection, concurrency: 50 })
worker.on('completed', () => { ended += 1; wake?.() })
await until(jobs)
const through = jobs / (now() - begun) * 1e3

const pace = 0.1 * through / 1e3, count = Math.floor(pace * seconds * 1e3)
begun = now()
const adding = []
for (let n = 0; n < count;) {
  for (; n < count && n <= (now() - begun) * pace; n++) adding.push(queue.add('noop', { sent: now() }))
  await new Promise(resolve => setTimeout(resolve, 1))
}
await Promise.all(adding)
await until(jobs + count)
took.sort((a, b) => a - b)
const at = share => took[Math.round((took.length - 1) * share)]
console.log(JSON.stringify({ single_per_s: single, bulk_per_s: bulk, through_per_s: through, latency_ms: { p50: at(0.5), p99: at(0.99) } }))
await worker.close(true)
await queue.close()
process.exit(0)
