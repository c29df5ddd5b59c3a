// The backend of Backstage's Kafka page, without the rest of a Backstage: arguments are the broker's address and a port.
const express = require('express');
const { ConfigReader } = require('@backstage/config');
const { createRouter } = require('@backstage-community/plugin-kafka-backend');

const [bootstrap, port] = process.argv.slice(2);
const tell = (...words) => console.error(...words);
const logger = { info: tell, warn: tell, error: tell, debug: () => {}, child: () => logger };
const config = new ConfigReader({
  kafka: { clientId: 'backstage', clusters: [{ name: 'here', brokers: [bootstrap] }] },
});
createRouter({ logger, config }).then(router => express().use('/api/kafka', router).listen(Number(port), '127.0.0.1'));
