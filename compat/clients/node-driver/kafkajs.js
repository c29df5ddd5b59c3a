// What the drivers of kafkajs and of confluent-kafka-javascript have in common: the second has the first's methods.
// See ../README.md.
'use strict'

const { Refused } = require('./loop')

// A client, and the records that it has pushed.
class Handle {
  constructor(client, bootstrap, settings) {
    Object.assign(this, { client, bootstrap, settings, kept: [], assigned: [], wake: () => {} })
  }

  push({ topic, partition, message }) {
    const { offset, timestamp, key, value } = message
    const headers = Object.entries(message.headers ?? {}).flatMap(([name, values]) => [values].flat().map(one => [name, one]))
    this.kept.push({ topic, partition, offset: Number(offset), timestamp: Number(timestamp), key, value, headers })
    this.wake()
  }

  async records(count, milliseconds) {
    const deadline = Date.now() + milliseconds
    for (let left; this.kept.length < count && (left = deadline - Date.now()) > 0; ) {
      await new Promise(resolve => {
        const timer = setTimeout(resolve, left)
        this.wake = () => resolve(clearTimeout(timer))
      })
    }
    return this.kept.splice(0)
  }
}

function message({ key, value, partition, timestamp, headers = [] }) {
  const named = {}
  for (const [name, value] of headers) (named[name] ??= []).push(value)
  return { key, value, partition, headers: named, ...(timestamp && { timestamp: String(timestamp) }) }
}

// A driver is made of this and has: `made(role, bootstrap, settings)`, `sent(handle, topic, messages)`, `beginning(handle)`
// and `running`, which go to subscribe and to run, `assignment(handle)`, and what is left of the commands.
class Common {
  handles = new Map()

  client(handle) {
    return this.handles.get(handle).client
  }

  async open({ handle, role, bootstrap, settings }) {
    // A consumer has a group, also where it makes no use of it.
    const given = role === 'consumer' ? { 'group.id': handle, 'auto.offset.reset': 'earliest', ...settings } : settings
    const opened = new Handle(this.made(role, bootstrap, given), bootstrap, given)
    this.handles.set(handle, opened)
    await opened.client.connect()
  }

  async close({ handle }) {
    const { client } = this.handles.get(handle)
    this.handles.delete(handle)
    await client.disconnect()
  }

  async produce({ handle, topic, records }) {
    return { records: await this.sent(this.handles.get(handle), topic, records.map(message)) }
  }

  async start(reader, topics) {
    await reader.client.subscribe({ topics, ...this.beginning(reader) })
    await reader.client.run({ ...this.running, eachMessage: async one => reader.push(one) })
  }

  async assign({ handle, topic, partitions }) {
    const reader = this.handles.get(handle)
    const seeks = []
    const admin = this.made('admin', reader.bootstrap, {})
    await admin.connect()
    for (const [partition, from] of partitions) {
      if (from === 'beginning') continue
      const at = from === 'end' ? 'latest' : from.timestamp
      const offset = from.offset ?? (await this.offsets(admin, topic, at)).find(([one]) => one === partition)[1]
      seeks.push({ topic, partition, offset: String(offset) })
    }
    await admin.disconnect()
    await this.startAt(reader, topic, seeks)
  }

  // What was pushed before the seeks is not wanted.
  async startAt(reader, topic, seeks) {
    await this.start(reader, [topic])
    if (seeks.length) reader.kept = []
    for (const seek of seeks) reader.client.seek(seek)
  }

  async offsets(admin, topic, at) {
    const byName = { earliest: 'low', latest: 'high' }[at]
    const found = byName ? await admin.fetchTopicOffsets(topic) : await admin.fetchTopicOffsetsByTimestamp(topic, at)
    return found.map(one => [one.partition, Number(one[byName ?? 'offset'])])
  }

  async subscribe({ handle, topics, pattern }) {
    await this.start(this.handles.get(handle), topics ?? [new RegExp(`^${pattern}$`)])
  }

  async poll({ handle, count, timeout_ms }) {
    const reader = this.handles.get(handle)
    return { records: await reader.records(count, timeout_ms), assignment: this.assignment(reader) }
  }

  // A promise: asynchronous for whoever does not wait.
  async commit({ handle, offsets }) {
    const given = offsets.map(([topic, partition, offset]) => ({ topic, partition, offset: String(offset) }))
    await this.client(handle).commitOffsets(given)
  }

  async seek({ handle, topic, partition, offset }) {
    const reader = this.handles.get(handle)
    reader.kept = []
    await reader.client.seek({ topic, partition, offset: String(offset) })
  }

  async pause({ handle, topic, partition }) {
    this.client(handle).pause([{ topic, partitions: [partition] }])
  }

  async resume({ handle, topic, partition }) {
    this.client(handle).resume([{ topic, partitions: [partition] }])
  }

  async create_topic({ handle, topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }]
    if (!(await this.client(handle).createTopics({ topics }))) {
      throw new Refused('TOPIC_ALREADY_EXISTS', 'createTopics: false')
    }
  }

  async describe_topic({ handle, topic }) {
    const found = await this.client(handle).fetchTopicMetadata({ topics: [topic] })
    const { partitions } = (found.topics ?? found)[0]
    return { partitions: partitions.map(({ partitionId, leader, replicas, isr }) => ({ partition: partitionId, leader, replicas, isr })) }
  }

  async delete_topic({ handle, topic }) {
    await this.client(handle).deleteTopics({ topics: [topic] })
  }

  async list_offsets({ handle, topic, partitions, at }) {
    const found = await this.offsets(this.client(handle), topic, at)
    return { offsets: found.filter(([partition]) => partitions.includes(partition)) }
  }

  async list_groups({ handle }) {
    return { groups: (await this.client(handle).listGroups()).groups.map(group => group.groupId) }
  }

  async group_offsets({ handle, group }) {
    const found = await this.client(handle).fetchOffsets({ groupId: group })
    const rows = found.flatMap(({ topic, partitions }) => partitions.map(one => [topic, one.partition, Number(one.offset)]))
    return { offsets: rows }
  }

  async delete_group({ handle, group }) {
    await this.client(handle).deleteGroups([group])
  }
}

module.exports = { Common }
