package requestlimitextension

// This file: what both protocols share, from the first byte of a request to the end of its handling.

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"golang.org/x/sync/semaphore"
)

const (
	// How long a request may take to arrive while other senders wait for its turn.
	receiveContended = 5 * time.Second
	// How long it may take at all.
	receiveLongest = 30 * time.Second
)

type limits struct {
	component.StartFunc
	component.ShutdownFunc
	config Config
	gate   *gate
	// Bytes that decoded requests may take.
	budget *semaphore.Weighted
}

var (
	_ extensionmiddleware.HTTPServer = (*limits)(nil)
	_ extensionmiddleware.GRPCServer = (*limits)(nil)
)

var (
	errBusy = errors.New("too many requests at once, try again later")
	errSlow = errors.New("the request has not arrived in time")
)

func newLimits(config *Config) *limits {
	return &limits{
		config: *config,
		gate:   newGate(config.Requests, config.RequestsPerSender, config.Waiting),
		budget: semaphore.NewWeighted(config.BudgetMiB * mebibyte),
	}
}

// request is one request between its first byte and the end of its handling.
type request struct {
	limits *limits
	sender string
	// Ends its reception.
	cancel func()

	mu      sync.Mutex
	hasTurn bool
	timer   *time.Timer
	begun   time.Time
	weight  int64
}

// receive watches the reception of a request whose turn has come: who sends slowly gives way to others.
func (one *request) receive() {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.hasTurn, one.begun = true, time.Now()
	one.timer = time.AfterFunc(receiveContended, one.judge)
}

func (one *request) judge() {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.timer == nil {
		return
	}
	if time.Since(one.begun) >= receiveLongest || one.limits.gate.othersWait(one.sender) {
		one.cancel()
		return
	}
	one.timer.Reset(time.Second)
}

// received ends the watch: what comes now depends on this collector alone.
func (one *request) received() {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.timer != nil {
		one.timer.Stop()
		one.timer = nil
	}
}

// admit waits until the budget has room for what a request becomes, and lets the next one be read.
func (one *request) admit(ctx context.Context, decoded int64, body int) error {
	// The bytes themselves are there twice while they are decoded.
	weight := min(decoded+2*int64(body), one.limits.config.BudgetMiB*mebibyte)
	if err := one.limits.budget.Acquire(ctx, weight); err != nil {
		return errBusy
	}
	one.mu.Lock()
	one.weight = weight
	one.mu.Unlock()
	return nil
}

// passTurn lets the next request be read.
func (one *request) passTurn() {
	one.mu.Lock()
	had := one.hasTurn
	one.hasTurn = false
	one.mu.Unlock()
	if had {
		one.limits.gate.leave(one.sender)
	}
}

// end gives everything back, whatever the request has come to.
func (one *request) end() {
	one.received()
	one.passTurn()
	one.mu.Lock()
	weight := one.weight
	one.weight = 0
	one.mu.Unlock()
	if weight > 0 {
		one.limits.budget.Release(weight)
	}
}

// host is the sender of an address: connections of one pod count together.
func host(address string) string {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return name
}
