// The driver of kafkajs. See ../README.md.
'use strict'

const zstd = require('@mongodb-js/zstd')
const { AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const LZ4 = require('@2l/kafkajs-lz4')
const snappy = require('kafkajs-snappy')
const { version } = require('kafkajs/package.json')
const { Common } = require('./kafkajs')
const { refusal, serve } = require('./loop')

// It has gzip itself; the others are to be given to it.
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = new LZ4().codec
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zstd.compress(encoder.buffer),
  decompress: async buffer => zstd.decompress(buffer),
})
const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const ACKS = { 0: 0, 1: 1, all: -1 }
// Its waits grow up to half a minute. An admin client tries again also what will never be.
const RETRY = { initialRetryTime: 100, maxRetryTime: 300, retries: 300 }

const number = text => (text === undefined ? undefined : Number(text))

class Driver extends Common {
  running = { autoCommit: false }

  hello() {
    return { version }
  }

  made(role, bootstrap, settings) {
    const retry = role === 'admin' ? { ...RETRY, retries: 5 } : RETRY
    const kafka = new Kafka({ brokers: bootstrap.split(','), clientId: settings['client.id'], logLevel: logLevel.WARN, retry })
    if (role === 'producer') return kafka.producer({ idempotent: settings['enable.idempotence'] === 'true' })
    if (role === 'admin') return kafka.admin()
    return kafka.consumer({
      retry,
      maxWaitTimeInMs: 100,
      groupId: settings['group.id'],
      sessionTimeout: number(settings['session.timeout.ms']),
      heartbeatInterval: number(settings['heartbeat.interval.ms']),
      metadataMaxAge: number(settings['metadata.max.age.ms']),
      maxBytesPerPartition: number(settings['max.partition.fetch.bytes']),
    })
  }

  async open(fields) {
    await super.open(fields)
    const opened = this.handles.get(fields.handle)
    if (fields.role !== 'consumer') return
    const { events } = opened.client
    opened.client.on(events.GROUP_JOIN, ({ payload }) => {
      opened.assigned = Object.entries(payload.memberAssignment).flatMap(([topic, all]) => all.map(one => [topic, one]))
    })
    opened.client.on(events.REBALANCING, () => {
      opened.assigned = []
    })
  }

  beginning(reader) {
    return { fromBeginning: reader.settings['auto.offset.reset'] === 'earliest' }
  }

  assignment(reader) {
    return reader.assigned
  }

  // It tells where the batch of a partition begins, and nothing of which partition it has chosen for a record.
  async sent({ client, settings }, topic, messages) {
    const compression = CompressionTypes[CODECS[settings['compression.type'] ?? 'none']]
    let answers
    try {
      answers = await client.send({ topic, messages, compression, acks: ACKS[settings.acks ?? 'all'] })
    } catch (error) {
      return messages.map(() => refusal(error))
    }
    const next = Object.fromEntries(answers.map(({ partition, baseOffset }) => [partition, number(baseOffset)]))
    return messages.map(({ partition = null }) => ({ partition, offset: partition in next ? next[partition]++ : null }))
  }

  async create_partitions({ handle, topic, count }) {
    await this.client(handle).createPartitions({ topicPartitions: [{ topic, count }] })
  }

  async alter_configs({ handle, topic, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await this.client(handle).alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  }

  async describe_configs({ handle, topic }) {
    const { resources } = await this.client(handle).describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
    return { configs: Object.fromEntries(resources[0].configEntries.map(one => [one.configName, one.configValue])) }
  }

  async describe_group({ handle, group }) {
    const [{ state, members }] = (await this.client(handle).describeGroups([group])).groups
    const described = members.map(({ clientId, memberAssignment }) => {
      const { assignment } = AssignerProtocol.MemberAssignment.decode(memberAssignment)
      return {
        client_id: clientId,
        assignment: Object.entries(assignment).flatMap(([topic, all]) => all.map(one => [topic, one])),
      }
    })
    return { state, members: described }
  }
}

serve(new Driver())
