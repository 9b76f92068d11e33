// A Kafka broker for tests: the broker that the franz-go client library is itself tested with, and a consumer that
// prints every record as "topic base64".
//
//	kafka PORT USER PASSWORD MECHANISM CERTIFICATE KEY CLIENTS TOPIC...
//
// Clients must authenticate with that SASL mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. CERTIFICATE and KEY are PEM files
// of a broker with TLS; with "-" for both there is none. CLIENTS is a PEM file of the certificates that clients must have, the
// broker's own among them; with "-" they need none.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func client(mechanism, user, password string) sasl.Mechanism {
	auth := scram.Auth{User: user, Pass: password}
	switch mechanism {
	case "SCRAM-SHA-256":
		return auth.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		return auth.AsSha512Mechanism()
	default:
		return plain.Auth{User: user, Pass: password}.AsMechanism()
	}
}

func run(arguments []string) error {
	if len(arguments) < 8 {
		return fmt.Errorf("usage: kafka PORT USER PASSWORD MECHANISM CERTIFICATE KEY CLIENTS TOPIC...")
	}
	port, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	user, password, mechanism, topics := arguments[1], arguments[2], arguments[3], arguments[7:]
	brokers := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(port),
		kfake.SeedTopics(1, topics...),
		kfake.EnableSASL(),
		kfake.Superuser(mechanism, user, password),
	}
	consumer := []kgo.Opt{kgo.SASL(client(mechanism, user, password))}
	if arguments[4] != "-" {
		certificate, err := tls.LoadX509KeyPair(arguments[4], arguments[5])
		if err != nil {
			return err
		}
		certificates := []tls.Certificate{certificate}
		listener := &tls.Config{Certificates: certificates}
		if arguments[6] != "-" {
			clients, err := os.ReadFile(arguments[6])
			if err != nil {
				return err
			}
			listener.ClientCAs = x509.NewCertPool()
			listener.ClientCAs.AppendCertsFromPEM(clients)
			listener.ClientAuth = tls.RequireAndVerifyClientCert
		}
		brokers = append(brokers, kfake.TLS(listener))
		// The consumer is part of this process: whom it talks to is known.
		consumer = append(consumer, kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true, Certificates: certificates}))
	}
	cluster, err := kfake.NewCluster(brokers...)
	if err != nil {
		return err
	}
	defer cluster.Close()
	client, err := kgo.NewClient(append(consumer,
		kgo.SeedBrokers(cluster.ListenAddrs()...),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)...)
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
