// The loop of the drivers that are written in Go: see ../README.md. A driver gives `serve` a Client.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Where a partition is read from, or listed at: an offset, a timestamp or one of these, which are Kafka's.
const (
	latest   = -1
	earliest = -2
)

type Client interface {
	Producer(bootstrap string, settings Settings) (Producer, error)
	Consumer(bootstrap string, settings Settings) (Consumer, error)
	Admin(bootstrap string, settings Settings) (Admin, error)
	// Code is that of Kafka's error which this one is or holds, 0 if there is none.
	Code(err error) int
}

type Producer interface {
	// Produce gives an answer for each record: `placed`, an error, or nil when the client tells nothing.
	Produce(topic string, records []Record) ([]any, error)
	Close() error
}

type Consumer interface {
	Assign(topic string, starts []Start) error
	Subscribe(topics []string, pattern string) error
	Poll(count int, timeout time.Duration) ([]Record, error)
	Assignment() []TopicPartition
	Commit(offsets []TopicOffset, async bool) error
	Seek(topic string, partition int32, offset int64) error
	Pause(topic string, partition int32) error
	Resume(topic string, partition int32) error
	Close() error
}

type Admin interface {
	CreateTopic(topic string, partitions int32, configs map[string]string) error
	DescribeTopic(topic string) ([]Partition, error)
	CreatePartitions(topic string, count int32) error
	AlterConfigs(topic string, configs map[string]string) error
	DescribeConfigs(topic string) (map[string]string, error)
	DeleteTopic(topic string) error
	ListOffset(topic string, partition int32, at int64) (int64, error)
	ListGroups() ([]string, error)
	DescribeGroup(group string) (state string, members []Member, err error)
	GroupOffsets(group string) ([]TopicOffset, error)
	DeleteGroup(group string) error
	Close() error
}

// Record is one to be sent, where Partition and Timestamp may be nil, or one that was read.
type Record struct {
	Topic     string   `json:"topic"`
	Partition *int32   `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

func read(topic string, partition int32, offset int64, timestamp time.Time, key, value []byte, headers []Header) Record {
	ms := timestamp.UnixMilli()
	return Record{topic, &partition, offset, &ms, key, value, headers}
}

// Time is that of the record, or none, when the client sets it.
func (record Record) Time() time.Time {
	if record.Timestamp == nil {
		return time.Time{}
	}
	return time.UnixMilli(*record.Timestamp)
}

type Header struct {
	Name  string
	Value []byte
}

type TopicPartition struct {
	Topic     string
	Partition int32
}

type TopicOffset struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Start is where a partition is read from: earliest, latest, an offset or, with Timed, a timestamp.
type Start struct {
	Partition int32
	At        int64
	Timed     bool
}

// Offset resolves it, with the client's way to list an offset.
func (start Start) Offset(list func(partition int32, at int64) (int64, error)) (int64, error) {
	if start.At >= 0 && !start.Timed {
		return start.At, nil
	}
	return list(start.Partition, start.At)
}

type Partition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Replicas  []int32 `json:"replicas"`
	Isr       []int32 `json:"isr"`
}

type Member struct {
	ClientID   string           `json:"client_id"`
	Assignment []TopicPartition `json:"assignment"`
}

func placed(partition int32, offset int64) any {
	return map[string]int64{"partition": int64(partition), "offset": offset}
}

// What JSON has as a list.

func (header Header) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{header.Name, header.Value})
}

func (header *Header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[2]any{&header.Name, &header.Value})
}

func (one TopicPartition) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{one.Topic, one.Partition})
}

func (one TopicOffset) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{one.Topic, one.Partition, one.Offset})
}

func (one *TopicOffset) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[3]any{&one.Topic, &one.Partition, &one.Offset})
}

func (start *Start) UnmarshalJSON(data []byte) error {
	var from at
	if err := json.Unmarshal(data, &[2]any{&start.Partition, &from}); err != nil {
		return err
	}
	start.At, start.Timed = from.at, from.timed
	return nil
}

// at is a place in a partition, as `assign` and `list_offsets` have it.
type at struct {
	at    int64
	timed bool
}

func (from *at) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"beginning"`, `"earliest"`:
		from.at = earliest
	case `"end"`, `"latest"`:
		from.at = latest
	default:
		var known struct{ Offset, Timestamp *int64 }
		if json.Unmarshal(data, &from.at) == nil {
			from.timed = true
		} else if err := json.Unmarshal(data, &known); err != nil {
			return err
		} else if known.Offset != nil {
			from.at = *known.Offset
		} else {
			from.at, from.timed = *known.Timestamp, true
		}
	}
	return nil
}

// Settings are Kafka's, by name. What a driver has taken it has translated; the rest is unsupported.
type Settings map[string]string

func (settings Settings) take(name, otherwise string) string {
	value, there := settings[name]
	if !there {
		return otherwise
	}
	delete(settings, name)
	return value
}

func (settings Settings) number(name string, otherwise int) int {
	var number int
	if _, err := fmt.Sscan(settings.take(name, fmt.Sprint(otherwise)), &number); err != nil {
		panic(err)
	}
	return number
}

func (settings Settings) milliseconds(name string, otherwise time.Duration) time.Duration {
	return time.Duration(settings.number(name, int(otherwise.Milliseconds()))) * time.Millisecond
}

// rest is an error unless all were taken.
func (settings Settings) rest() error {
	if len(settings) == 0 {
		return nil
	}
	return unsupported(fmt.Sprint("settings ", map[string]string(settings)))
}

// Unsupported is the error of what the client cannot do.
type Unsupported struct{ what string }

func (err *Unsupported) Error() string { return err.what }

func unsupported(what string) error { return &Unsupported{what} }

// version is that of a module which was built in.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == module {
			if one.Replace != nil {
				one = one.Replace
			}
			return strings.TrimPrefix(one.Version, "v")
		}
	}
	return "unknown"
}

func pointers(configs map[string]string) map[string]*string {
	found := map[string]*string{}
	for name, value := range configs {
		found[name] = &value
	}
	return found
}

// Kafka's names of the codes that scenarios ask for.
var errorNames = map[int]string{
	3:  "UNKNOWN_TOPIC_OR_PARTITION",
	10: "MESSAGE_TOO_LARGE",
	36: "TOPIC_ALREADY_EXISTS",
	37: "INVALID_PARTITIONS",
	40: "INVALID_CONFIG",
	68: "NON_EMPTY_GROUP",
	69: "GROUP_ID_NOT_FOUND",
}

type command struct {
	ID         int64
	Do         string
	Handle     string
	Role       string
	Bootstrap  string
	Settings   Settings
	Topic      string
	Topics     []string
	Pattern    string
	Partition  int32
	Partitions json.RawMessage
	Offset     int64
	Offsets    []TopicOffset
	Async      bool
	Records    []Record
	Count      int
	TimeoutMs  int64 `json:"timeout_ms"`
	Configs    map[string]string
	At         at
	Group      string
}

type fields map[string]any

type loop struct {
	client  Client
	hello   map[string]string
	handles sync.Map
	writing sync.Mutex
}

// serve carries out what comes on the standard input until its end, each command beside the others.
func serve(client Client, hello map[string]string) {
	loop := &loop{client: client, hello: hello}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		go loop.answer(line)
	}
}

func (loop *loop) answer(line []byte) {
	var command command
	err := json.Unmarshal(line, &command)
	var ok fields
	if err == nil {
		ok, err = loop.do(&command)
	}
	answer := fields{"id": command.ID}
	if err != nil {
		answer["error"], answer["text"] = loop.name(err), err.Error()
	} else if ok == nil {
		answer["ok"] = fields{}
	} else {
		answer["ok"] = ok
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	loop.writing.Lock()
	defer loop.writing.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func (loop *loop) name(err error) string {
	if name, known := errorNames[loop.client.Code(err)]; known {
		return name
	}
	var unsupported *Unsupported
	if errors.As(err, &unsupported) {
		return "UNSUPPORTED"
	}
	return fmt.Sprintf("%T", err)
}

func (loop *loop) do(command *command) (fields, error) {
	switch command.Do {
	case "hello":
		ok := fields{}
		for name, value := range loop.hello {
			ok[name] = value
		}
		return ok, nil
	case "open":
		return nil, loop.open(command)
	}
	handle, there := loop.handles.Load(command.Handle)
	if !there {
		return nil, fmt.Errorf("no handle %s", command.Handle)
	}
	if command.Do == "close" {
		loop.handles.Delete(command.Handle)
		return nil, handle.(interface{ Close() error }).Close()
	}
	switch handle := handle.(type) {
	case Producer:
		return loop.producer(handle, command)
	case Consumer:
		return consume(handle, command)
	case Admin:
		return administer(handle, command)
	}
	panic("a handle of no role")
}

func (loop *loop) open(command *command) error {
	var handle any
	var err error
	switch command.Role {
	case "producer":
		handle, err = loop.client.Producer(command.Bootstrap, command.Settings)
	case "consumer":
		handle, err = loop.client.Consumer(command.Bootstrap, command.Settings)
	default:
		handle, err = loop.client.Admin(command.Bootstrap, command.Settings)
	}
	if err != nil {
		return err
	}
	if err := command.Settings.rest(); err != nil {
		return err
	}
	loop.handles.Store(command.Handle, handle)
	return nil
}

func unknown(command *command) error {
	return unsupported(command.Do + " is not a command of this handle")
}

func (loop *loop) producer(producer Producer, command *command) (fields, error) {
	if command.Do != "produce" {
		return nil, unknown(command)
	}
	answers, err := producer.Produce(command.Topic, command.Records)
	for n, answer := range answers {
		if err, failed := answer.(error); failed {
			answers[n] = fields{"error": loop.name(err), "text": err.Error()}
		}
	}
	return fields{"records": answers}, err
}

func consume(consumer Consumer, command *command) (fields, error) {
	switch command.Do {
	case "assign":
		var starts []Start
		if err := json.Unmarshal(command.Partitions, &starts); err != nil {
			return nil, err
		}
		return nil, consumer.Assign(command.Topic, starts)
	case "subscribe":
		return nil, consumer.Subscribe(command.Topics, command.Pattern)
	case "poll":
		records, err := consumer.Poll(command.Count, time.Duration(command.TimeoutMs)*time.Millisecond)
		ok := fields{"records": append([]Record{}, records...), "assignment": append([]TopicPartition{}, consumer.Assignment()...)}
		if counting, counts := consumer.(interface{ Rebalances() int }); counts {
			ok["rebalances"] = counting.Rebalances()
		}
		return ok, err
	case "commit":
		return nil, consumer.Commit(command.Offsets, command.Async)
	case "seek":
		return nil, consumer.Seek(command.Topic, command.Partition, command.Offset)
	case "pause":
		return nil, consumer.Pause(command.Topic, command.Partition)
	case "resume":
		return nil, consumer.Resume(command.Topic, command.Partition)
	}
	return nil, unknown(command)
}

func administer(admin Admin, command *command) (fields, error) {
	switch command.Do {
	case "create_topic":
		var partitions int32
		if err := json.Unmarshal(command.Partitions, &partitions); err != nil {
			return nil, err
		}
		return nil, admin.CreateTopic(command.Topic, partitions, command.Configs)
	case "describe_topic":
		partitions, err := admin.DescribeTopic(command.Topic)
		return fields{"partitions": partitions}, err
	case "create_partitions":
		return nil, admin.CreatePartitions(command.Topic, int32(command.Count))
	case "alter_configs":
		return nil, admin.AlterConfigs(command.Topic, command.Configs)
	case "describe_configs":
		configs, err := admin.DescribeConfigs(command.Topic)
		return fields{"configs": configs}, err
	case "delete_topic":
		return nil, admin.DeleteTopic(command.Topic)
	case "list_offsets":
		var partitions []int32
		if err := json.Unmarshal(command.Partitions, &partitions); err != nil {
			return nil, err
		}
		found := [][]int64{}
		for _, partition := range partitions {
			offset, err := admin.ListOffset(command.Topic, partition, command.At.at)
			if err != nil {
				return nil, err
			}
			found = append(found, []int64{int64(partition), offset})
		}
		return fields{"offsets": found}, nil
	case "list_groups":
		groups, err := admin.ListGroups()
		return fields{"groups": groups}, err
	case "describe_group":
		state, members, err := admin.DescribeGroup(command.Group)
		return fields{"state": state, "members": append([]Member{}, members...)}, err
	case "group_offsets":
		offsets, err := admin.GroupOffsets(command.Group)
		return fields{"offsets": append([]TopicOffset{}, offsets...)}, err
	case "delete_group":
		return nil, admin.DeleteGroup(command.Group)
	}
	return nil, unknown(command)
}
