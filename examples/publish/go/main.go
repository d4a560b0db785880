// Publishes each line of standard input, a JSON text, on a subject: go run . SUBJECT < lines
//
// NATS_URL says where NATS is (default nats://127.0.0.1:4222).
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: publish SUBJECT < lines")
	}
	if err := publish(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func publish(ctx context.Context, subject string) error {
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	connection, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		// Stores a message once: the stream drops a repetition with the same id, so an attempt without an answer is
		// repeated.
		id := jetstream.WithMsgID(rand.Text())
		stored, err := stream.Publish(ctx, subject, lines.Bytes(), id, jetstream.WithRetryAttempts(5))
		if err != nil {
			return err
		}
		fmt.Println("stored as", stored.Sequence)
	}
	return lines.Err()
}
