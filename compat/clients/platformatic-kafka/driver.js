// The driver of @platformatic/kafka. See ../README.md.
'use strict'

const fs = require('fs')
const { Admin, ConfigResourceTypes, Consumer, FetchIsolationLevels, ListOffsetTimestamps, Producer } = require('@platformatic/kafka')
const { Refused, refusal, serve, unsupported } = require('./loop')

const VERSION = JSON.parse(fs.readFileSync('node_modules/@platformatic/kafka/package.json')).version
const ACKS = { 0: 0, 1: 1, all: -1 }
const AT = { earliest: ListOffsetTimestamps.EARLIEST, latest: ListOffsetTimestamps.LATEST }
// For a minute. An admin client tries again also what will never be.
const RETRY = { retries: 600, retryDelay: 100 }

const number = text => (text === undefined ? undefined : Number(text))
const named = configs => Object.entries(configs).map(([name, value]) => ({ name, value }))

// It takes no undefined for what is not said.
function said(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

// A consumer, and the records that its stream has pushed.
class Reader {
  constructor(client, settings) {
    Object.assign(this, { client, settings, kept: [], wake: () => {} })
  }

  // What the stream that is there until now has pushed is not wanted. `wanted` are the partitions, if not all.
  async read(options, wanted) {
    const before = this.stream
    this.stream = undefined
    await before?.close()
    this.kept = []
    const stream = await this.client.consume({ autocommit: false, ...options })
    stream.on('data', one => {
      if (stream === this.stream && (!wanted || wanted.includes(one.partition))) this.push(one)
    })
    stream.on('error', error => {
      this.error = error
      this.wake()
    })
    this.stream = stream
    this.topics = options.topics
  }

  push({ topic, partition, offset, timestamp, key, value, headerEntries }) {
    const headers = headerEntries.map(([name, one]) => [name.toString(), one])
    this.kept.push({ topic, partition, offset: Number(offset), timestamp: Number(timestamp), key, value, headers })
    this.wake()
  }

  async records(count, milliseconds) {
    const deadline = Date.now() + milliseconds
    for (let left; this.kept.length < count && !this.error && (left = deadline - Date.now()) > 0; ) {
      await new Promise(resolve => {
        const timer = setTimeout(resolve, left)
        this.wake = () => resolve(clearTimeout(timer))
      })
    }
    if (this.error) throw this.error
    return this.kept.splice(0)
  }
}

class Driver {
  handles = new Map()

  client(handle) {
    return this.handles.get(handle).client
  }

  hello() {
    return { version: VERSION, library: `Node ${process.versions.node}` }
  }

  open({ handle, role, bootstrap, settings }) {
    const common = said({
      ...RETRY,
      clientId: settings['client.id'] ?? 'driver',
      bootstrapBrokers: bootstrap.split(','),
      metadataMaxAge: number(settings['metadata.max.age.ms']),
    })
    const client = {
      producer: () => new Producer({ ...common, autocreateTopics: true, idempotent: settings['enable.idempotence'] === 'true' }),
      admin: () => new Admin({ ...common, retries: 5 }),
      // A consumer has a group, also where it makes no use of it.
      consumer: () =>
        new Consumer(
          said({
            ...common,
            groupId: settings['group.id'] ?? handle,
            groupInstanceId: settings['group.instance.id'],
            sessionTimeout: number(settings['session.timeout.ms']),
            heartbeatInterval: number(settings['heartbeat.interval.ms']),
            maxBytesPerPartition: number(settings['max.partition.fetch.bytes']),
            maxWaitTime: 100,
            isolationLevel: FetchIsolationLevels.READ_UNCOMMITTED,
          }),
        ),
    }[role]()
    client.on('error', console.error)
    this.handles.set(handle, role === 'consumer' ? new Reader(client, settings) : { client, settings })
  }

  async close({ handle }) {
    const { client, stream } = this.handles.get(handle)
    this.handles.delete(handle)
    await stream?.close()
    await client.close()
  }

  // It tells where the batch of a partition begins, and nothing of which partition it has chosen for a record.
  async produce({ handle, topic, records }) {
    const { client, settings } = this.handles.get(handle)
    const messages = records.map(({ key, value, partition, timestamp, headers = [] }) =>
      said({
        topic,
        key: key ?? undefined,
        value: value ?? undefined,
        partition,
        timestamp: timestamp === undefined ? undefined : BigInt(timestamp),
        headers: new Map(headers.map(([name, one]) => [Buffer.from(name), one])),
      }),
    )
    let answer
    try {
      answer = await client.send({ messages, compression: settings['compression.type'] ?? 'none', acks: ACKS[settings.acks ?? 'all'] })
    } catch (error) {
      console.error(error)
      const refused = refusal(error)
      return { records: records.map(() => refused) }
    }
    const next = Object.fromEntries((answer.offsets ?? []).map(one => [one.partition, Number(one.offset)]))
    return { records: records.map(({ partition = null }) => ({ partition, offset: partition in next ? next[partition]++ : null })) }
  }

  async assign({ handle, topic, partitions }) {
    const reader = this.handles.get(handle)
    const at = async (partition, timestamp) => {
      const found = await reader.client.listOffsets({ topics: [topic], partitions: { [topic]: [partition] }, timestamp })
      return found.get(topic)[partition]
    }
    const offsets = []
    for (const [partition, from] of partitions) {
      let offset = from.offset === undefined ? undefined : BigInt(from.offset)
      if (from.timestamp !== undefined) offset = await at(partition, BigInt(from.timestamp))
      // There is none at the time or after it.
      if (from === 'end' || offset === -1n) offset = await at(partition, AT.latest)
      if (from === 'beginning') offset = await at(partition, AT.earliest)
      offsets.push({ topic, partition, offset })
    }
    await reader.read({ topics: [topic], mode: 'manual', offsets }, partitions.map(([partition]) => partition))
  }

  async subscribe({ handle, topics }) {
    if (!topics) throw unsupported('it has no patterns of topics')
    const reader = this.handles.get(handle)
    await reader.read({ topics, mode: 'committed', fallbackMode: reader.settings['auto.offset.reset'] ?? 'earliest' })
  }

  async poll({ handle, count, timeout_ms }) {
    const reader = this.handles.get(handle)
    const records = await reader.records(count, timeout_ms)
    const assigned = reader.client.assignments ?? []
    return { records, assignment: assigned.flatMap(({ topic, partitions }) => partitions.map(one => [topic, one])) }
  }

  // A promise: asynchronous for whoever does not wait.
  async commit({ handle, offsets }) {
    const given = offsets.map(([topic, partition, offset]) => ({ topic, partition, offset: BigInt(offset), leaderEpoch: -1 }))
    await this.client(handle).commit({ offsets: given })
  }

  // By another stream: those of other partitions go on where the records begin that nobody has polled.
  async seek({ handle, topic, partition, offset }) {
    const reader = this.handles.get(handle)
    const places = new Map(reader.stream.offsetsToFetch)
    for (const one of reader.kept.toReversed()) places.set(`${one.topic}:${one.partition}`, BigInt(one.offset))
    places.set(`${topic}:${partition}`, BigInt(offset))
    const offsets = [...places].map(([place, next]) => {
      const end = place.lastIndexOf(':')
      return { topic: place.slice(0, end), partition: Number(place.slice(end + 1)), offset: next }
    })
    await reader.read({ topics: reader.topics, mode: 'manual', offsets })
  }

  async create_topic({ handle, topic, partitions, configs }) {
    await this.client(handle).createTopics({ topics: [topic], partitions, replicas: -1, configs: named(configs) })
  }

  async describe_topic({ handle, topic }) {
    const found = await this.client(handle).metadata({ topics: [topic], forceUpdate: true }).catch(error => {
      // It makes an error of its own of the broker's.
      throw error.message.startsWith('Unknown topic') ? new Refused('UNKNOWN_TOPIC_OR_PARTITION', error.message) : error
    })
    const { partitions } = found.topics.get(topic)
    return { partitions: partitions.map(({ leader, replicas, isr }, partition) => ({ partition, leader, replicas, isr })) }
  }

  async create_partitions({ handle, topic, count }) {
    await this.client(handle).createPartitions({ topics: [{ name: topic, count }] })
  }

  async alter_configs({ handle, topic, configs }) {
    const given = named(configs).map(one => ({ ...one, configOperation: 0 }))
    const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs: given }]
    await this.client(handle).incrementalAlterConfigs({ resources })
  }

  async describe_configs({ handle, topic }) {
    const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }]
    const [{ configs }] = await this.client(handle).describeConfigs({ resources })
    return { configs: Object.fromEntries(configs.map(({ name, value }) => [name, value])) }
  }

  async delete_topic({ handle, topic }) {
    await this.client(handle).deleteTopics({ topics: [topic] })
  }

  async list_offsets({ handle, topic, partitions, at }) {
    const asked = partitions.map(partitionIndex => ({ partitionIndex, timestamp: AT[at] ?? BigInt(at) }))
    const [found] = await this.client(handle).listOffsets({ topics: [{ name: topic, partitions: asked }] })
    return { offsets: found.partitions.map(({ partitionIndex, offset }) => [partitionIndex, Number(offset)]) }
  }

  async list_groups({ handle }) {
    return { groups: [...(await this.client(handle).listGroups()).keys()] }
  }

  async describe_group({ handle, group }) {
    const { state, members } = (await this.client(handle).describeGroups({ groups: [group] })).get(group)
    const described = [...members.values()].map(({ clientId, assignments }) => ({
      client_id: clientId,
      assignment: [...(assignments ?? new Map()).values()].flatMap(({ topic, partitions }) => partitions.map(one => [topic, one])),
    }))
    return { state, members: described }
  }

  async group_offsets({ handle, group }) {
    const [{ topics }] = await this.client(handle).listConsumerGroupOffsets({ groups: [group] })
    const rows = topics.flatMap(({ name, partitions }) => partitions.map(one => [name, one.partitionIndex, Number(one.committedOffset)]))
    return { offsets: rows }
  }

  async delete_group({ handle, group }) {
    await this.client(handle).deleteGroups({ groups: [group] })
  }
}

serve(new Driver())
