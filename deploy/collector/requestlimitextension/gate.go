package requestlimitextension

// This file: whose request is read next.

import (
	"container/list"
	"context"
	"sync"
)

// gate lets a number of requests in at once, first come, first served, and no more than a share of one sender.
type gate struct {
	mu        sync.Mutex
	free      int
	perSender int
	waiting   int
	inside    map[string]int
	queued    map[string]int
	queue     list.List
}

type waiter struct {
	sender string
	turn   chan struct{}
}

func newGate(places, perSender, waiting int) *gate {
	return &gate{
		free: places, perSender: perSender, waiting: waiting, inside: map[string]int{}, queued: map[string]int{},
	}
}

// isFull says whether another request of a sender may wait.
func (gate *gate) isFull(sender string) bool {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.queue.Len() >= gate.waiting || gate.queued[sender] >= gate.waiting/4
}

// othersWait says whether anybody else would have the place of a sender.
func (gate *gate) othersWait(sender string) bool {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	return gate.queue.Len() > gate.queued[sender]
}

// enter waits for a place. Those inside leave sooner or later, so it ends without a context too.
func (gate *gate) enter(ctx context.Context, sender string) error {
	gate.mu.Lock()
	if gate.free > 0 && gate.inside[sender] < gate.perSender {
		gate.free--
		gate.inside[sender]++
		gate.mu.Unlock()
		return nil
	}
	one := &waiter{sender: sender, turn: make(chan struct{})}
	place := gate.queue.PushBack(one)
	gate.queued[sender]++
	gate.mu.Unlock()
	select {
	case <-one.turn:
		return nil
	case <-ctx.Done():
	}
	gate.mu.Lock()
	defer gate.mu.Unlock()
	select {
	case <-one.turn:
		// Its turn came at the same moment.
		return nil
	default:
	}
	gate.queue.Remove(place)
	subtract(gate.queued, sender)
	return ctx.Err()
}

// leave gives a place to the first whose sender has a share left.
func (gate *gate) leave(sender string) {
	gate.mu.Lock()
	defer gate.mu.Unlock()
	gate.free++
	subtract(gate.inside, sender)
	for place := gate.queue.Front(); place != nil; place = place.Next() {
		next := place.Value.(*waiter)
		if gate.inside[next.sender] >= gate.perSender {
			continue
		}
		gate.queue.Remove(place)
		subtract(gate.queued, next.sender)
		gate.free--
		gate.inside[next.sender]++
		close(next.turn)
		return
	}
}

func subtract(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}
