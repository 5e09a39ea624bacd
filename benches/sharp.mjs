// One conversion by sharp in a warm process: node sharp.mjs SOURCE TARGET RUNS '{"width": 1200, "to": "webp", "options": {"quality": 80}}'.
// Prints the medians of wall and CPU seconds, and the most memory the process ever had. SHARP is the folder sharp is installed in.
import { createRequire } from 'node:module'

const sharp = createRequire(`${process.env.SHARP}/package.json`)('sharp')
const [source, target, runs, work] = process.argv.slice(2)
const { width, to, options } = JSON.parse(work)
// Its own cache would answer the second run.
sharp.cache(false)

async function once () {
  const before = process.cpuUsage()
  const start = process.hrtime.bigint()
  await sharp(source).resize(width ? { width } : {}).toFormat(to, options).toFile(target)
  const used = process.cpuUsage(before)
  return { wall: Number(process.hrtime.bigint() - start) / 1e9, cpu: (used.user + used.system) / 1e6 }
}

const median = values => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
for (let warm = 0; warm < 3; warm++) await once()
const found = []
for (let run = 0; run < Number(runs); run++) found.push(await once())
console.log(JSON.stringify({
  wall_s: median(found.map(f => f.wall)),
  cpu_s: median(found.map(f => f.cpu)),
  peak_mib: process.resourceUsage().maxRSS / 1024,
  version: `sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}`
}))
