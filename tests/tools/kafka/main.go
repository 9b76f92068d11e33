// A Kafka broker for tests: the broker that the franz-go client library is itself tested with, and a consumer that
// prints every record as "topic base64".
//
//	kafka PORT USER PASSWORD TOPIC...
//
// Clients must authenticate with SASL PLAIN.
package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 4 {
		return fmt.Errorf("usage: kafka PORT USER PASSWORD TOPIC...")
	}
	port, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	user, password, topics := arguments[1], arguments[2], arguments[3:]
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(port),
		kfake.SeedTopics(1, topics...),
		kfake.EnableSASL(),
		kfake.Superuser("PLAIN", user, password),
	)
	if err != nil {
		return err
	}
	defer cluster.Close()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cluster.ListenAddrs()...),
		kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Println("ready")
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Println(record.Topic, base64.StdEncoding.EncodeToString(record.Value))
		})
	}
	return nil
}
