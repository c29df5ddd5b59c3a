// The driver of confluent-kafka-javascript: librdkafka as JavaScript has it. See ../README.md.
'use strict'

const { AdminClient, KafkaJS, librdkafkaVersion } = require('@confluentinc/kafka-javascript')
const { version } = require('@confluentinc/kafka-javascript/package.json')
const { Common } = require('./kafkajs')
const { refusal, serve } = require('./loop')

// librdkafka's defaults are for a network: it waits up to ten seconds before it connects again.
const COMMON = { 'reconnect.backoff.ms': 50, 'reconnect.backoff.max.ms': 200, 'log_level': 4 }
const OWN = {
  producer: { 'message.timeout.ms': 60_000, 'retry.backoff.ms': 50, 'linger.ms': 0, 'enable.idempotence': false },
  consumer: {
    'enable.auto.commit': false,
    'fetch.wait.max.ms': 100,
    'fetch.error.backoff.ms': 50,
    'topic.metadata.refresh.fast.interval.ms': 50,
  },
  admin: { 'allow.auto.create.topics': false },
}
// Others have the same name.
const NAMES = { 'max.request.size': 'message.max.bytes', 'metadata.max.age.ms': 'topic.metadata.refresh.interval.ms' }
const STATES = Object.fromEntries(Object.entries(KafkaJS.ConsumerGroupStates).map(([name, value]) => [value, name]))

// Since Node 13 an empty buffer has no address, and the client takes it for null; it notices the length of this one.
const EMPTY = Buffer.alloc(1).subarray(0, 0)
const addressed = data => (data?.length === 0 ? EMPTY : data)

function configuration(role, bootstrap, settings) {
  const given = Object.entries(settings).map(([name, value]) => [NAMES[name] ?? name, value])
  return { 'bootstrap.servers': bootstrap, ...COMMON, ...OWN[role], ...Object.fromEntries(given) }
}

class Driver extends Common {
  running = {}

  hello() {
    return { version, library: `librdkafka ${librdkafkaVersion}` }
  }

  made(role, bootstrap, settings) {
    return new KafkaJS.Kafka()[role](configuration(role, bootstrap, settings))
  }

  beginning() {
    return {}
  }

  // It keeps a seek until the partition is assigned. One that comes between that and the broker's answer of what the group has
  // committed is lost, with a line in its log (librdkafka's _STATE).
  async startAt(reader, topic, seeks) {
    for (const seek of seeks) reader.client.seek(seek)
    await this.start(reader, [topic])
  }

  assignment(reader) {
    return reader.client.assignment().map(({ topic, partition }) => [topic, partition])
  }

  // One by one: for several it tells only where the first of them is. librdkafka makes batches of them.
  async sent({ client }, topic, messages) {
    const sending = messages.map(async message => {
      for (const name of ['key', 'value']) message[name] = addressed(message[name])
      for (const name in message.headers) message.headers[name] = message.headers[name].map(addressed)
      try {
        const [{ partition, baseOffset }] = await client.send({ topic, messages: [message] })
        return { partition, offset: baseOffset == null ? null : Number(baseOffset) }
      } catch (error) {
        return refusal(error)
      }
    })
    return Promise.all(sending)
  }

  // Its promise of a commit is kept when the commit is on its way: whether it has arrived is to be asked.
  async commit(fields) {
    await super.commit(fields)
    const asked = fields.offsets.map(([topic, partition]) => ({ topic, partition }))
    const arrived = (one, [, , offset]) => Number(one.offset) === offset
    let found
    do found = await this.client(fields.handle).committed(asked)
    while (!found.every((one, n) => arrived(one, fields.offsets[n])))
  }

  // Only the client of its other interface, that of node-rdkafka, has this.
  async create_partitions({ handle, topic, count }) {
    const { bootstrap, settings } = this.handles.get(handle)
    const admin = AdminClient.create(configuration('admin', bootstrap, settings))
    try {
      await new Promise((resolve, reject) => {
        admin.createPartitions(topic, count, error => (error ? reject(error) : resolve()))
      })
    } finally {
      admin.disconnect()
    }
  }

  async describe_group({ handle, group }) {
    const [{ state, members }] = (await this.client(handle).describeGroups([group])).groups
    const described = members.map(({ clientId, assignment }) => ({
      client_id: clientId,
      assignment: assignment.topicPartitions.map(({ topic, partition }) => [topic, partition]),
    }))
    return { state: STATES[state][0] + STATES[state].slice(1).toLowerCase(), members: described }
  }
}

serve(new Driver())
