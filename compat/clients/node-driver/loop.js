// The loop of the drivers that are written in JavaScript: see ../README.md. A driver is an object whose methods have the
// commands' names, take their fields and give (or promise) what stands behind "ok", with bytes as buffers.
'use strict'

const readline = require('readline')

// What clients log with console.log is not an answer.
console.log = console.info = console.debug = console.error

// Kafka's names of the codes that scenarios ask for.
const ERRORS = {
  3: 'UNKNOWN_TOPIC_OR_PARTITION',
  10: 'MESSAGE_TOO_LARGE',
  36: 'TOPIC_ALREADY_EXISTS',
  37: 'INVALID_PARTITIONS',
  40: 'INVALID_CONFIG',
  68: 'NON_EMPTY_GROUP',
  69: 'GROUP_ID_NOT_FOUND',
}

// The answer is this error.
class Refused extends Error {
  constructor(name, text) {
    super(text)
    this.refusal = name
  }
}

const unsupported = what => new Refused('UNSUPPORTED', what)

// An error of a client may hold the one that the broker gave.
function inner(error) {
  const held = error.errors?.[0] ?? error.groups?.[0]?.error ?? error.cause
  return held ? inner(held) : error
}

function refusal(error) {
  const cause = inner(error)
  return { error: cause.refusal ?? ERRORS[cause.code] ?? ERRORS[cause.apiCode] ?? cause.type ?? cause.name, text: error.message }
}

const unpacked = data => (data == null ? null : Buffer.from(data, 'base64'))
const packed = data => (data == null ? null : data.toString('base64'))

// The record with its bytes changed.
function changed(record, change) {
  const found = { ...record }
  for (const name of ['key', 'value']) if (name in record) found[name] = change(record[name])
  if (record.headers) found.headers = record.headers.map(([name, value]) => [name, change(value)])
  return found
}

// Until the end of the input. Commands run side by side.
function serve(driver) {
  async function answer({ id, do: name, ...fields }) {
    try {
      if (!driver[name]) throw unsupported(`${name} is not a command of this driver`)
      if (name === 'produce') fields.records = fields.records.map(record => changed(record, unpacked))
      const ok = (await driver[name](fields)) ?? {}
      if (name === 'poll') ok.records = ok.records.map(record => changed(record, packed))
      return { id, ok }
    } catch (error) {
      if (!(error instanceof Refused)) console.error(error)
      return { id, ...refusal(error) }
    }
  }
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', async line => process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + '\n'))
  lines.on('close', () => process.exit(0))
}

module.exports = { Refused, refusal, serve, unsupported }
