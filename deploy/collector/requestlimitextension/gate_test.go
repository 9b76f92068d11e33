package requestlimitextension

import (
	"context"
	"testing"
	"time"
)

func enter(gate *gate, sender string) chan error {
	done := make(chan error, 1)
	before := gate.length()
	go func() { done <- gate.enter(context.Background(), sender) }()
	for len(done) == 0 && gate.length() == before {
		time.Sleep(time.Millisecond)
	}
	return done
}

func (gate *gate) length() int {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.queue.Len()
}

func TestOneSenderLeavesPlacesToOthers(t *testing.T) {
	gate := newGate(3, 2, 8)
	for range 2 {
		if err := <-enter(gate, "a"); err != nil {
			t.Fatal(err)
		}
	}
	third := enter(gate, "a")
	if gate.length() != 1 || gate.othersWait("a") || !gate.othersWait("b") {
		t.Fatal("the third request of a sender must wait")
	}
	if err := <-enter(gate, "b"); err != nil {
		t.Fatal(err)
	}
	fourth := enter(gate, "b")
	gate.leave("a")
	<-third
	if len(fourth) != 0 {
		t.Fatal("first come, first served")
	}
	gate.leave("a")
	<-fourth
	for _, sender := range []string{"a", "b", "b"} {
		gate.leave(sender)
	}
	if gate.free != 3 || len(gate.inside) != 0 || len(gate.queued) != 0 {
		t.Fatalf("%+v", gate)
	}
}

func TestWhoGivesUpLeavesTheQueue(t *testing.T) {
	gate := newGate(1, 1, 8)
	<-enter(gate, "a")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := gate.enter(ctx, "b"); err == nil || gate.length() != 0 {
		t.Fatalf("%v, %d wait", err, gate.length())
	}
}

func TestOneSenderFillsAQuarterOfTheQueue(t *testing.T) {
	gate := newGate(1, 1, 8)
	<-enter(gate, "a")
	enter(gate, "a")
	enter(gate, "a")
	if !gate.isFull("a") || gate.isFull("b") {
		t.Fatal("a sender has a quarter")
	}
}
